"""What the alerts about verdicts, and about new warnings of the data, say."""

from __future__ import annotations

from typing import Any

import pytest
from alerting import BASE, RUN, context
from models_server import DATASET, DUPLICATES, REAL, SYNTHETIC, fill, judge, promote
from skin_alert_words import Told, compose

from skin_pipeline import journal
from skin_pipeline.contracts import RESULT, Dataset, Notice, dump, load
from skin_pipeline.storage import FolderStore

AT = "2026-06-30T00:00:01+00:00"


@pytest.fixture(autouse=True)
def base_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", BASE)


@pytest.fixture
def judged(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    """The configured store, with three models in it."""
    fill(store)
    monkeypatch.setenv("SKIN_STORE", store.url)
    return store


def told(event: Any, given: Any) -> Told:
    found = compose(event, given)
    assert found
    return found


def test_a_refusal_gives_figures_reasons_and_the_report(judged: FolderStore) -> None:
    verdict = judge(judged, REAL, "late", at=AT, accuracy=0.701, approved=False)
    found = told("refused", context("reject", verdict=verdict))
    text = found.alert.text
    assert found.alert.headline == f"{REAL} was refused"
    assert "The champion stays as it was: version " in text
    assert "accuracy 0.701 (95 % interval 0.651 to 0.751), sensitivity 0.853" in text
    assert "Failed: accuracy: 0.701 [0.651, 0.751], required at least 0.750" in text
    assert "(232 images: 187 correct would show 0.750, 163 were)." in text
    report = f"{BASE}/plugin/models/skin-models/view/{verdict}/report.html"
    assert f"Report: {report}" in text
    assert found.alert.payload()["report_url"] == report
    assert (found.subject, found.alert.origin["verdict"]) == (REAL, verdict)


def test_a_judgement_names_the_warnings_about_the_data(judged: FolderStore) -> None:
    verdict = judge(judged, REAL, "late", at=AT, accuracy=0.701, approved=False)
    alert = told("refused", context("reject", verdict=verdict)).alert
    assert f"Warnings about the data: {DUPLICATES}; shortcut: border ring colour.\n" in alert.text
    data = alert.payload()["data_url"]
    assert f"Data: {data}\n" in alert.text
    assert data.endswith("%2B00%3A00/plugin/skin-data")


def test_a_promotion_names_the_new_champion(judged: FolderStore) -> None:
    verdict = judge(judged, SYNTHETIC, "new", at=AT, accuracy=0.9, approved=True, synthetic=True)
    version = promote(judged, SYNTHETIC, verdict, at=AT, synthetic=True)
    found = told("promoted", context("promote", verdict=verdict))
    assert found.alert.headline == f"[synthetic data] {SYNTHETIC} was promoted"
    assert f"The champion is now version {version}." in found.alert.text
    assert "Failed" not in found.alert.text
    assert found.subject == f"{SYNTHETIC} {verdict}"


def test_the_same_model_again_is_not_called_a_promotion(judged: FolderStore) -> None:
    verdict = judge(judged, REAL, "new", at=AT, accuracy=0.9, approved=True)
    version = promote(judged, REAL, verdict, at=AT)
    journal.note(judged, RUN, unchanged=True)
    alert = told("promoted", context("promote", verdict=verdict)).alert
    assert alert.headline == f"{REAL} is unchanged"
    assert f"The run produced the present champion again: version {version}." in alert.text
    assert "Nothing changed: an earlier run came to the same verdict on " in alert.text


def test_the_same_refusal_again_says_that_nothing_changed(judged: FolderStore) -> None:
    verdict = judge(judged, REAL, "new", at=AT, accuracy=0.6, approved=False)
    journal.note(judged, RUN, unchanged=True)
    alert = told("refused", context("reject", verdict=verdict)).alert
    assert alert.headline == f"{REAL} was refused, as before"
    assert "Nothing changed: an earlier run came to the same verdict on " in alert.text
    assert "Failed: accuracy: " in alert.text


def with_unused(store: FolderStore) -> None:
    """Two tables of the data set were found and not used."""
    found = tuple(
        Notice(kind="table_not_used", subject=name, reason="no column fits")
        for name in ("a.csv", "b.csv")
    )
    data = load(store, DATASET, Dataset).model_copy(update={"notices": found})
    store.remove(f"{DATASET}/{RESULT}")  # a result is written once
    store.put(f"{DATASET}/{RESULT}", dump(data))


def test_what_was_found_and_not_used_is_among_the_warnings(judged: FolderStore) -> None:
    verdict = judge(judged, REAL, "new", at=AT, accuracy=0.6, approved=False)
    with_unused(judged)
    assert "table not used: 2" in told("refused", context("reject", verdict=verdict)).alert.text


def test_a_verdict_that_cannot_be_read_still_makes_an_alert(judged: FolderStore) -> None:
    given = context("promote", verdict="gate/none", params={"data": "x"})
    alert = told("promoted", given).alert
    assert alert.headline == "skin-resnet50 was judged"
    assert "could not be read" in alert.text


# --- warnings about the data ---------------------------------------------------------------------


def begun(store: FolderStore, like: str) -> dict[str, Any]:
    """The context of a run that has split the same data as a run before."""
    made = journal.of_run(store, like)
    assert made
    journal.note(store, RUN, validation=made.validation, split=made.split)
    return context("split", params={"model_name": REAL})


def test_all_warnings_are_new_in_the_first_run_of_a_model(
    store: FolderStore, monkeypatch: Any
) -> None:
    monkeypatch.setenv("SKIN_STORE", store.url)
    judge(store, "another", "first", at=AT, accuracy=0.6, approved=False)
    found = told("data_warning", begun(store, "first"))
    assert found.alert.headline == f"New warnings about the data of {REAL}"
    new = f"New since the run before: {DUPLICATES}; shortcut: border ring colour."
    assert new in found.alert.text
    assert found.alert.text.count("\nWarning: ") == 2
    assert found.alert.payload()["data_url"].endswith("/plugin/skin-data")


def test_warnings_of_the_run_before_are_not_told_again(judged: FolderStore) -> None:
    judge(judged, REAL, "before", at=AT, accuracy=0.6, approved=False)
    assert compose("data_warning", begun(judged, "before")) is None


def test_only_the_new_warnings_are_told(judged: FolderStore, monkeypatch: Any) -> None:
    import skin_verdict_words

    judge(judged, REAL, "before", at=AT, accuracy=0.6, approved=False)
    given = begun(judged, "before")
    known = frozenset({DUPLICATES})
    monkeypatch.setattr(skin_verdict_words, "_known_warnings", lambda *_: known)
    found = told("data_warning", given)
    assert "New since the run before: shortcut: border ring colour." in found.alert.text
    assert found.alert.text.count("\nWarning: ") == 1


def test_a_run_that_judged_itself_is_not_the_run_before(judged: FolderStore) -> None:
    """A task that is cleared after the run was judged still compares with the run before."""
    from skin_verdict_words import _known_warnings

    judge(judged, "lonely", RUN, at=AT, accuracy=0.6, approved=False)
    assert _known_warnings(judged, "lonely", RUN) == frozenset()
    assert _known_warnings(judged, "lonely", "another run") == {
        *(DUPLICATES, "shortcut: border ring colour")
    }


def test_a_run_without_data_has_no_warnings(judged: FolderStore) -> None:
    assert compose("data_warning", context("split", run="never begun")) is None
