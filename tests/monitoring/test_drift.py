"""Drift, from the rows of the log: raised, named, ended, and the same whenever it is computed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import watched_days

from skin_pipeline.monitoring import drift
from skin_pipeline.monitoring.reference import Reference


@pytest.fixture(scope="module")
def reference() -> Reference:
    return watched_days.reference_of()


def test_images_like_those_of_the_reference_raise_no_alarm(reference: Reference) -> None:
    course = drift.follow(watched_days.days(0, 30), reference)
    assert not course.drifting
    assert course.moved == ()
    assert course.returned
    assert course.images == 600
    assert len(course.days) == 30


def test_an_alarm_says_what_moved_by_how_much_since_when_and_in_which_images(
    reference: Reference,
) -> None:
    rows = pd.concat([watched_days.days(0, 10), watched_days.days(10, 20, red=0.12)])
    course = drift.follow(rows, reference)
    assert course.drifting
    first = course.moved[0]
    assert first.name == "red"
    assert first.text.startswith("images are redder than those that the model was judged on: 0.6")
    assert abs(pd.Timestamp(first.since) - pd.Timestamp("2026-10-11")) <= pd.Timedelta(days=2)
    assert "2026-10-11" <= course.raised_on <= "2026-10-16"
    assert first.now - first.reference == pytest.approx(0.12, abs=0.03)
    reddest = rows[rows["scored_at"] >= first.since].nlargest(5, "red")["image"]
    assert list(first.examples) == list(reddest)


@pytest.mark.parametrize(
    ("moved", "name"),
    [
        ({"sharpness": -0.12}, "sharpness"),
        ({"vignette": 0.12}, "vignette"),
        ({"unreadable": 0.2}, "unreadable"),
    ],
)
def test_quality_that_falls_is_named(
    reference: Reference, moved: dict[str, float], name: str
) -> None:
    course = drift.follow(watched_days.days(0, 10, **moved), reference)
    assert course.drifting
    assert course.moved[0].name == name


def test_more_malignant_images_are_told_as_a_share(reference: Reference) -> None:
    rows = watched_days.days(0, 40)
    malignant = rows["label"] == "malignant"
    kept = rows[malignant | (np.arange(len(rows)) % 6 == 0)]
    course = drift.follow(kept, reference)
    assert course.drifting
    said = {item.name: item.text for item in course.moved}
    assert "of the images are classified as malignant, against" in said["malignant"]


def test_it_is_the_same_however_often_and_in_whatever_order_the_log_is_read(
    reference: Reference,
) -> None:
    rows = watched_days.days(0, 12, red=0.03)
    once = drift.follow(rows, reference)
    twice = drift.follow(pd.concat([rows, rows]).sample(frac=1, random_state=0), reference)
    assert once == twice
    assert once.evidence != drift.follow(rows[:-1], reference).evidence


def test_after_an_alarm_was_acknowledged_evidence_is_counted_anew(reference: Reference) -> None:
    rows = pd.concat([watched_days.days(0, 8, red=0.2), watched_days.days(8, 11)])
    assert drift.follow(rows, reference).was_raised
    course = drift.follow(rows, reference, anew="2026-10-08T23:00:00+00:00")
    assert not course.drifting
    assert course.images == 60
    assert not course.returned  # sixty images are too few to say that it is over
    assert len(course.days) == 11
    assert np.isnan(course.days[7].evidence)
    assert np.isfinite(course.days[8].evidence)
    still = pd.concat([watched_days.days(0, 8, red=0.2), watched_days.days(8, 20, red=0.2)])
    assert drift.follow(still, reference, anew="2026-10-08T23:00:00+00:00").drifting


def test_a_drift_that_passes_ends(reference: Reference) -> None:
    rows = pd.concat([watched_days.days(0, 4, red=0.2), watched_days.days(4, 40)])
    course = drift.follow(rows, reference)
    assert course.was_raised
    assert not course.drifting
    assert course.raised_on == ""
    assert course.returned


def test_days_have_what_is_charted(reference: Reference) -> None:
    rows = watched_days.rows(0, count=10, unreadable=0.2)
    rows.loc[5, "abstained"] = True
    (day,) = drift.follow(rows, reference).days
    assert (day.day, day.images, day.unreadable, day.abstained) == ("2026-10-01", 10, 2, 1)
    assert day.malignant == (rows["label"] == "malignant").sum()
    assert day.means["red"] == pytest.approx(rows["red"].mean(), rel=1e-5)


def test_bands_are_those_of_the_reference(reference: Reference) -> None:
    band = drift.bands(reference)["red"]
    red = reference.measures[:, 0]
    assert band.mean == pytest.approx(red.mean(), rel=1e-5)
    assert band.low < np.quantile(red, 0.05) < np.quantile(red, 0.95) < band.high


@pytest.mark.parametrize(("among_validation", "drifting"), [(0.1, False), (0.0, True)])
def test_a_version_that_abstains_does_so_without_an_alarm(
    reference: Reference, among_validation: float, drifting: bool
) -> None:
    """As often as among validation images, that is; a version that should not is drifting."""
    unsure = (np.arange(len(reference)) < among_validation * len(reference)).astype(np.uint8)
    rows = watched_days.days(0, 30).reset_index(drop=True)
    rows["abstained"] = np.arange(len(rows)) % 10 == 0
    course = drift.follow(rows, replace(reference, abstained=unsure))
    assert course.drifting == drifting
    assert sum(day.abstained for day in course.days) == len(rows) / 10
    if drifting:
        assert course.moved[0].name == "abstained"
