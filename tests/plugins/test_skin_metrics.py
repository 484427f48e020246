"""Figures of daily operation: what is sent, and that nothing fails because of it."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import documents
import pytest
import skin_metrics
from judged_run import put
from skin_metrics import COUNTER, METRICS

from skin_pipeline.config import Deployment, Settings
from skin_pipeline.contracts import Batch, Check, Cost, StepCost, dump
from skin_pipeline.job import Job
from skin_pipeline.storage import Store

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "docs/grafana/skin-pipeline.json"
COST = Cost(
    **{"seconds": 2.5, "cores": 1, "finished_at": "", "core_seconds": 1.25, "peak_mib": 512},
    **{"bytes_read": 7, "bytes_written": 5, "found": 3, "computed": 4},
)
MODEL = "skin-resnet50"
BATCH = Batch(
    **{"model": MODEL, "alias": "champion", "version": "v", "source": "/in", "run": "r"},
    **{"scores": ("scores/1",), "images": 9, "unreadable": 2, "known": 1},
    **{"began_at": "", "ended_at": ""},
)


class Sent(list[tuple[str, float, dict[str, str]]]):
    """In the place of Airflow's functions for metrics: keeps what they are given."""

    def incr(self, name: str, count: int, *, tags: dict[str, str]) -> None:
        assert METRICS[name].kind == COUNTER
        assert type(count) is int  # StatsD would send anything else as it is
        self.append((name, count, tags))

    def gauge(self, name: str, value: float, *, tags: dict[str, str]) -> None:
        assert METRICS[name].kind != COUNTER
        self.append((name, value, tags))

    def of(self, name: str, **labels: str) -> list[float]:
        return [
            value for sent, value, tags in self if sent == name and labels.items() <= tags.items()
        ]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    monkeypatch.setenv("AIRFLOW__METRICS__OTEL_ON", "True")
    kept = Sent()
    monkeypatch.setattr(skin_metrics, "_stats", lambda: kept)
    return kept


@pytest.fixture
def job(store: Store) -> Job:
    return Job(Settings(), Deployment(), store)


def send_everything(job: Job) -> None:
    """Sends each metric at least once."""
    failed = Check(name="c", severity="warning", observed="1", bound="2", passed=False)
    put(job.store, "ingest/1", documents.dataset("ingest/1", unreadable=6))
    put(job.store, "validate/1", documents.validation("validate/1", "ingest/1", checks=(failed,)))
    put(job.store, "evaluate/1", documents.evaluation())
    costs = {"train": StepCost(core_seconds=30), "split": StepCost(core_seconds=2)}
    put(job.store, "gate/1", documents.verdict(approved=False, costs=costs))
    for key in ("ingest/1", "validate/1", "features/1", "gate/1"):
        skin_metrics.result(job, key, COST)
    skin_metrics.promoted(MODEL)
    job.store.put("batches/1.json", dump(BATCH))
    skin_metrics.scored(job.store, "batches/1.json")
    skin_metrics.drift(MODEL, {"blur": 0.25}, alarm=True)
    skin_metrics.alert("drift")


def test_every_metric_is_sent_with_its_labels(sent: Sent, job: Job) -> None:
    send_everything(job)
    assert {name for name, _, _ in sent} == METRICS.keys()
    assert all(tuple(tags) == METRICS[name].labels for name, _, tags in sent)


def test_a_result_that_was_made_is_charged_and_one_that_was_found_is_not(
    sent: Sent, job: Job
) -> None:
    skin_metrics.result(job, "features/1", COST)
    skin_metrics.result(job, "features/2", None)
    assert sent.of("skin.results", step="features", origin="made") == [1]
    assert sent.of("skin.results", step="features", origin="found") == [1]
    assert sent.of("skin.step.wall_milliseconds") == [2500]
    assert sent.of("skin.step.core_milliseconds", step="features") == [1250]
    assert sent.of("skin.step.memory_mib") == [512]
    assert sent.of("skin.store.read_bytes") == [7]
    assert sent.of("skin.store.written_bytes") == [5]
    assert sent.of("skin.activations", origin="cached") == [3]
    assert sent.of("skin.activations", origin="computed") == [4]


def test_a_verdict_is_counted_when_it_is_made_and_its_figures_are_told_always(
    sent: Sent, job: Job
) -> None:
    send_everything(job)
    skin_metrics.result(job, "gate/1", None)
    assert sent.of("skin.verdicts", model=MODEL, verdict="refused") == [1]
    assert not sent.of("skin.verdicts", verdict="approved")
    figures = documents.evaluation().ensemble
    for end in ("value", "low", "high"):
        told = sent.of("skin.judged.figure", figure="sensitivity", end=end)
        assert told == [getattr(figures.sensitivity, end)] * 2
    assert sent.of("skin.run.core_seconds") == [32, 0]


def test_the_data_is_told(sent: Sent, job: Job) -> None:
    send_everything(job)
    assert sent.of("skin.data.unreadable", model=MODEL) == [6]
    assert sent.of("skin.data.failed_checks", severity="warning") == [1]
    assert sent.of("skin.data.failed_checks", severity="critical") == [0]
    assert sent.of("skin.scoring.images", outcome="scored") == [9]
    assert sent.of("skin.drift.evidence", signal="blur") == [0.25]
    assert sent.of("skin.drift.alarm", model=MODEL) == [1]


def test_nothing_is_read_or_sent_where_airflow_sends_no_metrics(
    monkeypatch: pytest.MonkeyPatch, job: Job
) -> None:
    def never() -> Any:
        pytest.fail("something was sent")

    monkeypatch.setattr(skin_metrics, "_stats", never)
    monkeypatch.setattr(Job, "load", never)
    skin_metrics.result(job, "gate/of nothing", COST)
    skin_metrics.alert("drift")


def test_a_metric_that_cannot_be_sent_fails_nothing(
    sent: Sent, job: Job, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("the socket is full, token=planted-secret-1b")

    monkeypatch.setattr(Sent, "incr", full)
    skin_metrics.alert("drift")
    skin_metrics.result(job, "gate/of nothing", COST)
    assert caplog.text.count("unobserved what=") == 2
    assert "planted-secret-1b" not in caplog.text


def test_a_figure_that_is_not_defined_is_not_sent(sent: Sent) -> None:
    skin_metrics.drift(MODEL, {"blur": math.nan, "colour": 0.5}, alarm=False)
    assert sent.of("skin.drift.evidence") == [0.5]


def test_other_labels_than_the_documented_ones_are_an_error(sent: Sent) -> None:
    with pytest.raises(ValueError, match="has the labels"):
        skin_metrics.send("skin.alerts", 1, event="drift")


def test_real_airflow_functions_take_them(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server: their own logger that sends nothing, and names that OpenTelemetry takes."""
    from airflow.sdk._shared.observability.metrics.otel_logger import name_is_otel_safe

    assert all(name_is_otel_safe("airflow", name) for name in METRICS)
    skin_metrics._stats.cache_clear()
    for name, metric in METRICS.items():
        skin_metrics.send(name, 1, **dict.fromkeys(metric.labels, "any"))


def test_an_alert_is_counted_once_for_each_incident(
    sent: Sent, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    import skin_notifier

    monkeypatch.setattr(skin_notifier, "_store", lambda: store)
    for version in ("v1", "v1", "v2"):
        skin_notifier.alert("damaged", version, model=MODEL, headline="A version", text=["It is."])
    assert sent.of("skin.alerts", kind="damaged") == [1, 1]


# --- what is written about them -------------------------------------------------------------------


def in_prometheus() -> dict[str, str]:
    """The name of each metric as an OpenTelemetry collector gives it to Prometheus."""
    return {
        f"airflow_{name.replace('.', '_')}{'_total' * (metric.kind == COUNTER)}": name
        for name, metric in METRICS.items()
    }


def queries() -> list[str]:
    """All queries of the dashboard."""
    dashboard = json.loads(DASHBOARD.read_text())
    targets = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [*targets, *(item["query"]["query"] for item in dashboard["templating"]["list"][1:])]


def test_the_dashboard_charts_what_is_sent_and_all_of_it() -> None:
    charted = set(re.findall(r"\bairflow_\w+", " ".join(queries())))
    airflows_own = {"airflow_task_scheduled_duration_milliseconds"}
    assert charted == in_prometheus().keys() | airflows_own


def test_the_dashboard_asks_for_labels_that_there_are() -> None:
    for query in queries():
        for name, chosen in re.findall(r"(airflow_skin_\w+)\{([^}]*)\}", query):
            labels = METRICS[in_prometheus()[name]].labels
            assert set(re.findall(r"(\w+)=", chosen)) <= set(labels), query


def test_airflow_sends_the_time_that_tasks_wait_for_a_slot() -> None:
    from airflow.sdk._shared.observability.metrics.metrics_registry import MetricsRegistry

    registry: Any = MetricsRegistry
    found = registry().get(name="task.scheduled_duration")
    assert found
    assert found["type"] == "timer"


def test_no_two_panels_lie_upon_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for place in (panel["gridPos"] for panel in panels):
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        taken |= cells


def test_every_metric_is_documented_with_its_labels() -> None:
    text = (ROOT / "docs/operating.md").read_text()
    for name, metric in METRICS.items():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        assert f"| `{name}` | {metric.kind} | {labels} | {metric.about} |" in text
