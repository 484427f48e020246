"""Reports of monitoring: made once for each state of the log, and asking for retraining once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import watched_days
from profiled_sites import profile
from watched_days import MODEL, VERSION

from skin_pipeline.contracts import DriftReport, dump
from skin_pipeline.errors import BadInput
from skin_pipeline.monitoring import reference, report, site_reference
from skin_pipeline.monitoring.measures import NAMES
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import Model, Registry
from skin_pipeline.release.sites import Profiles
from skin_pipeline.storage import FolderStore


@pytest.fixture
def model(store: FolderStore) -> Model:
    watched_days.put_reference(store)
    return Registry(store, SigningKeys()).model(MODEL)


def made(store: FolderStore, model: Model, **about: str) -> DriftReport:
    found = report.make(store, model, **about)  # type: ignore[arg-type]
    assert found is not None
    return found[1]


def fill(store: FolderStore, first: int, last: int, **moved: Any) -> None:
    for day in range(first, last):
        watched_days.put_day(store, watched_days.rows(day, **moved))


def test_without_scores_there_is_no_report(store: FolderStore, model: Model) -> None:
    assert report.models(store) == []
    assert report.make(store, model) is None
    assert report.latest(store, MODEL) is None


def test_a_report_is_made_of_the_log_and_written_once(store: FolderStore, model: Model) -> None:
    fill(store, 0, 3)
    first, again = report.make(store, model), report.make(store, model)
    assert first == again
    assert len(store.list(f"monitoring/{MODEL}/reports")) == 1
    fill(store, 3, 4)
    later = made(store, model)
    assert (later.images, later.version, len(later.days)) == (80, VERSION, 4)
    assert later.reference_images == 500
    assert report.latest(store, MODEL) == later
    assert report.models(store) == [MODEL]


def test_drift_asks_for_retraining_once_in_each_try_of_one_run(
    store: FolderStore, model: Model
) -> None:
    fill(store, 0, 6, red=0.2)
    found = made(store, model)
    assert found.drifting
    assert report.asks(store, found, "run 1", "2026-10-07T00:00:00+00:00")
    assert report.asks(store, found, "run 1", "2026-10-07T00:00:00+00:00")
    assert not report.asks(store, found, "run 2", "2026-10-08T00:00:00+00:00")
    fill(store, 6, 8, red=0.2)
    assert not report.asks(store, made(store, model), "run 2", "2026-10-09T00:00:00+00:00")


def test_without_drift_nothing_is_asked_for(store: FolderStore, model: Model) -> None:
    fill(store, 0, 2)
    assert not report.asks(store, made(store, model), "run 1", "2026-10-07T00:00:00+00:00")
    assert store.list(f"monitoring/{MODEL}/retraining") == []


def test_it_says_what_it_found_in_a_sentence(store: FolderStore, model: Model) -> None:
    fill(store, 0, 2)
    assert report.said(made(store, model)).startswith("no drift of skin: evidence ")
    fill(store, 2, 12, red=0.2)
    found = made(store, model)
    assert report.said(found).startswith("drift of skin since 2026-10-0")
    assert "images are redder" in report.said(found)
    (line, *_) = report.lines(found)
    assert line.startswith("Images are redder")
    assert "Examples: day-" in line


def test_a_new_version_starts_anew(store: FolderStore, model: Model) -> None:
    fill(store, 0, 6, red=0.2)
    assert made(store, model).drifting
    watched_days.put_reference(store, version="77c0")
    watched_days.put_day(store, watched_days.rows(7), version="77c0")
    found = made(store, model)
    assert (found.version, found.images, found.drifting) == ("77c0", 20, False)


def test_an_alarm_that_was_acknowledged_starts_anew(store: FolderStore, model: Model) -> None:
    fill(store, 0, 6, red=0.2)
    assert made(store, model).drifting
    anew = "2026-10-06T20:00:00+00:00"
    found = made(store, model, anew=anew)
    assert (found.anew, found.images, found.drifting, found.returned) == (anew, 0, False, False)
    newest = report.latest(store, MODEL)
    assert newest is not None
    assert dump(newest) == dump(found)  # days before have no evidence, and NaN equals nothing


def test_a_version_without_a_reference_says_why(store: FolderStore, model: Model) -> None:
    watched_days.put_day(store, watched_days.rows(0), version="77c0")
    found = made(store, model)
    assert "no version 77c0" in found.problem
    assert not found.drifting
    assert not found.returned
    assert report.said(found).startswith("nothing was compared: ")


def test_a_damaged_report_is_refused(store: FolderStore, model: Model) -> None:
    key = f"monitoring/{MODEL}/reports/20261001T080000-1.json"
    store.put(key, b"{}")
    store.put(f"monitoring/{MODEL}/current", key.encode())
    with pytest.raises(BadInput, match="is not a DriftReport document"):
        report.latest(store, MODEL)


# --- at a site ------------------------------------------------------------------------------------

SITE: dict[str, Any] = {"site": "clinic-b", "profile": 1}


def put_site(store: FolderStore, number: int = 1, threshold: float = 0.2) -> None:
    """Put a profile and its reference: images that are redder than those of the version."""
    Profiles(store, MODEL, VERSION, SigningKeys()).add(profile(threshold=threshold))
    known = watched_days.reference_of(seed=5, count=100)
    measures = known.measures.copy()
    measures[:, NAMES.index("red")] += 0.2
    there = replace(known, measures=measures, threshold=threshold)
    key = site_reference.key_of(profile(number=number))
    reference.write(store, key, there)


def test_a_site_is_watched_by_itself_and_compared_with_its_own_images(
    store: FolderStore, model: Model
) -> None:
    put_site(store)
    for day in range(6):
        watched_days.put_day(store, watched_days.rows(day, seed=2))
        watched_days.put_day(store, watched_days.rows(day, red=0.2), **SITE)
    here, there = made(store, model), made(store, model, site="clinic-b")
    assert (here.images, there.images) == (120, 120)
    assert (here.site, there.site, there.profile) == ("", "clinic-b", 1)
    assert not there.drifting  # as red as the site's labelled images are
    assert (here.reference_images, there.reference_images) == (500, 100)
    assert there.malignant_share > here.malignant_share  # by the site's lower threshold
    assert report.streams(store) == report.reported(store) == [MODEL, f"{MODEL}@clinic-b"]
    assert report.latest(store, f"{MODEL}@clinic-b") == there
    assert report.latest(store, MODEL) == here
    assert report.said(there).startswith("no drift of skin@clinic-b: ")


def test_images_of_a_site_that_change_are_told_apart_from_the_version(
    store: FolderStore, model: Model
) -> None:
    put_site(store)
    for day in range(10):
        watched_days.put_day(store, watched_days.rows(day, red=0.2 if day < 5 else 0.5), **SITE)
    found = made(store, model, site="clinic-b")
    assert found.drifting
    assert "redder" in report.said(found)
    assert report.asks(store, found, "run 1", "2026-10-07T00:00:00+00:00")
    (key,) = store.list(f"monitoring/{MODEL}/retraining")
    assert key.endswith("-clinic-b.json")


def test_a_new_profile_of_a_site_starts_anew(store: FolderStore, model: Model) -> None:
    put_site(store)
    watched_days.put_day(store, watched_days.rows(0, red=0.2), **SITE)
    put_site(store, 2, threshold=0.3)
    watched_days.put_day(store, watched_days.rows(1, red=0.2), site="clinic-b", profile=2)
    found = made(store, model, site="clinic-b")
    assert (found.profile, found.images) == (2, 20)


def test_a_profile_that_is_gone_says_why_nothing_is_compared(
    store: FolderStore, model: Model
) -> None:
    watched_days.put_day(store, watched_days.rows(0), **SITE)
    found = made(store, model, site="clinic-b")
    assert "000001.json" in found.problem
    assert report.said(found).startswith("nothing was compared: ")


def test_a_damaged_log_is_still_a_stream_and_hides_no_other(
    store: FolderStore, model: Model
) -> None:
    watched_days.put_day(store, watched_days.rows(0), **SITE)
    store.put("scoring/broken/batches/20261001T080000-1.json", b"{}")
    assert report.streams(store) == ["broken", f"{MODEL}@clinic-b"]


@pytest.mark.parametrize(
    ("stream", "parts"), [("skin", ("skin", "")), ("skin@clinic-b", ("skin", "clinic-b"))]
)
def test_a_stream_is_a_model_or_a_model_at_a_site(stream: str, parts: tuple[str, str]) -> None:
    assert report.parted(stream) == parts
