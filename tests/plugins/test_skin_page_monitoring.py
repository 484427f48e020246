"""The pages "Monitoring": what is known of each model's images, and what to do if nothing is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import skin_page_monitoring
import watched_days
from watched_days import MODEL, VERSION

from skin_pipeline.monitoring import report
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import Registry
from skin_pipeline.storage import FolderStore


@pytest.fixture
def client(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of the app, as if it had logged in, on an empty store."""
    import skin_connections
    import skin_models
    from fastapi.routing import APIRoute
    from fastapi.testclient import TestClient

    monkeypatch.setattr(skin_connections, "open_configured_store", lambda: store)
    app = skin_models.build()
    for route in app.routes:
        if isinstance(route, APIRoute):
            for dependency in route.dependencies:
                app.dependency_overrides[dependency.dependency] = lambda: None  # type: ignore[index]
    with TestClient(app, raise_server_exceptions=False) as made:
        yield made


def fill(store: FolderStore, last: int = 12, **moved: Any) -> None:
    """Score some days, of which the last four moved, and report on them."""
    watched_days.put_reference(store)
    for day in range(last):
        rows = watched_days.rows(day, **(moved if day >= last - 4 else {}))
        watched_days.put_day(store, rows)
    assert report.make(store, Registry(store, SigningKeys()).model(MODEL))


def main_of(html: str) -> str:
    """Returns the text of a page, with single blanks."""
    inside = re.findall(r"<main>.*</main>", html, flags=re.DOTALL)[0]
    return " ".join(re.sub(r"<[^>]*>", " ", inside).split())


def test_without_models_it_says_what_to_do(client: Any) -> None:
    answer = client.get("/monitoring")
    assert answer.status_code == 200
    assert "open the DAG skin_training and press Trigger" in main_of(answer.text)


def test_a_model_without_scores_says_what_to_do(client: Any, store: FolderStore) -> None:
    store.put("models/skin/judged/x.json", b"{}")
    assert "no report yet" in main_of(client.get("/monitoring").text)
    text = main_of(client.get("/monitoring/skin").text)
    assert "open the DAG skin_scoring , press Trigger and name a folder" in text
    assert "trigger skin_monitoring" in text


def test_a_model_without_drift(client: Any, store: FolderStore) -> None:
    fill(store)
    line = main_of(client.get("/monitoring").text)
    assert f"{MODEL} {VERSION} no drift" in line
    html = client.get(f"/monitoring/{MODEL}").text
    text = main_of(html)
    assert "The images are like those that the model was judged on." in text
    for title in (
        "Evidence of drift",
        "Images scored a day",
        "Classified as malignant",
        "Red",
        "Vignette",
    ):
        assert title in text
    assert html.count("<svg") >= 15
    assert "<script" not in re.findall(r"<main>.*</main>", html, flags=re.DOTALL)[0]


def test_drift_is_told_with_what_moved_and_examples(client: Any, store: FolderStore) -> None:
    fill(store, red=0.25)
    assert "images are redder" in main_of(client.get("/monitoring").text)
    text = main_of(client.get(f"/monitoring/{MODEL}").text)
    assert "The images have moved away from those that the model was judged on" in text
    assert "images are redder than those that the model was judged on: 0.7" in text
    assert re.search(r"day-\d+-\d+\.jpg", text)


def test_the_estimate_is_marked_as_one(client: Any, store: FolderStore) -> None:
    fill(store)
    text = main_of(client.get(f"/monitoring/{MODEL}").text)
    assert "Hollow, dashed: estimated, without labels" in text
    assert "An estimate, not a measurement." in text


def test_charts_stand_on_the_values_of_the_report(client: Any, store: FolderStore) -> None:
    fill(store, unreadable=0.5)
    found = report.latest(store, MODEL)
    assert found is not None
    unreadable = next(c for c in skin_page_monitoring.activity(found) if c.title == "Unreadable")
    assert [point.value for point in unreadable.points] == [0.0] * 8 + [0.5] * 4
    red = next(c for c in skin_page_monitoring.measured(found) if c.title == "Red")
    assert red.points[0].value == pytest.approx(found.days[0].means["red"])
    assert red.band == (found.bands["red"].low, found.bands["red"].high)


def test_a_version_without_a_reference_says_why(client: Any, store: FolderStore) -> None:
    watched_days.put_day(store, watched_days.rows(0), version="77c0")
    assert report.make(store, Registry(store, SigningKeys()).model(MODEL))
    text = main_of(client.get(f"/monitoring/{MODEL}").text)
    assert "Nothing can be compared. skin has no version 77c0" in text
    assert "cannot be compared" in main_of(client.get("/monitoring").text)


def test_a_damaged_report_spoils_its_own_model_only(client: Any, store: FolderStore) -> None:
    fill(store)
    store.put("scoring/other/batches/x.json", b"{}")
    key = "monitoring/other/reports/20261001T080000-1.json"
    store.put(key, b"{}")
    store.put("monitoring/other/current", key.encode())
    text = main_of(client.get("/monitoring").text)
    assert "is not a DriftReport document" in text
    assert f"{MODEL} {VERSION} no drift" in text


def test_names_of_images_are_text(client: Any, store: FolderStore) -> None:
    watched_days.put_reference(store)
    rows = watched_days.days(0, 5, red=0.3)
    rows["image"] = "<script>alert(1)</script>.jpg"
    watched_days.put_day(store, rows)
    assert report.make(store, Registry(store, SigningKeys()).model(MODEL))
    html = client.get(f"/monitoring/{MODEL}").text
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html


@pytest.mark.parametrize("name", ["nobody", "..%2F..%2Fetc", "%00", "skin%0a"])
def test_a_model_that_is_not_there_is_not_found(client: Any, store: FolderStore, name: str) -> None:
    fill(store, last=2)
    assert client.get(f"/monitoring/{name}").status_code == 404


def test_images_without_a_decision_have_a_chart_once_there_are_some(
    client: Any, store: FolderStore
) -> None:
    fill(store)
    assert "Without a decision" not in main_of(client.get(f"/monitoring/{MODEL}").text)
    watched_days.put_day(store, watched_days.rows(12).assign(label="unsure", abstained=True))
    assert report.make(store, Registry(store, SigningKeys()).model(MODEL))
    said = main_of(client.get(f"/monitoring/{MODEL}").text)
    assert "Without a decision 100" in said
    assert "the model is unsure" in said
