"""What the demo prints, what it accepts, and how it follows a run; without an Airflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import demo
import pytest
import requests
from small_verdict import judged

from skin_pipeline.errors import BadInput, Unavailable


def test_a_promotion_is_shown_with_every_run_the_ensemble_and_where_the_model_is() -> None:
    verdict, evaluation = judged()
    text = demo.render(demo.Outcome(verdict, evaluation, "/store/report.html", "/store/m.keras"))
    lines, rows = text.splitlines(), [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == "PROMOTED  skin-resnet50-synthetic"
    for run in range(6):
        assert f"{run} {1000 + run} 0.7{run}0 0.7{run}0 - 0.7{run}0" in rows
    assert "all 6 0.800 0.800 - 0.800" in rows
    assert "95 % from 0.750 0.750 - 0.750" in rows
    assert "to 0.850 0.850 - 0.850" in rows
    assert lines[-2:] == ["Model:  /store/m.keras", "Report: /store/report.html"]


def test_a_repeated_run_is_shown_as_one_that_changed_nothing() -> None:
    verdict, evaluation = judged()
    text = demo.render(demo.Outcome(verdict, evaluation, "r", "m", unchanged=True))
    assert f"Nothing changed since {verdict.judged_at}" in text
    assert "Nothing changed" not in demo.render(demo.Outcome(verdict, evaluation, "r", "m"))


def test_a_refusal_is_shown_with_its_reasons_and_no_model() -> None:
    verdict, evaluation = judged(approved=False)
    text = demo.render(demo.Outcome(verdict, evaluation, "/store/report.html", None))
    assert text.startswith("REFUSED  skin-resnet50-synthetic\n  accuracy 0.750 is below 0.760\n")
    assert "Model:" not in text


@pytest.mark.parametrize("synthetic", [True, False])
def test_synthetic_data_is_marked_and_only_that(synthetic: bool) -> None:
    verdict, evaluation = judged(synthetic=synthetic)
    shown = demo.render(demo.Outcome(verdict, evaluation, "r", "m"))
    assert ("SYNTHETIC DATA" in shown) == synthetic


def test_a_failure_names_the_step_and_the_reason() -> None:
    states = {("ingest", -1): "success", ("train", 3): "failed", ("gate", -1): "upstream_failed"}
    text = demo.render_failure(states, {("train", 3): "the weights are of another network"})
    assert "train [3]: the weights are of another network" in text
    assert "gate" not in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"event": "x", "error_detail": [{"exc_type": "E", "exc_value": "why"}]}], "why"),
        ([{"event": "first", "level": "error"}, {"event": "on", "level": "info"}], "first"),
        ([{"event": "fine", "level": "info"}], "its log has no error; the process may have been"),
        (["plain text"], "its log has no error"),
        (
            [
                {"event": "x", "error_detail": [{"exc_type": "E", "exc_value": "of the first"}]},
                {"event": "x", "error_detail": [{"exc_type": "Last", "exc_value": ""}]},
                {"event": "told by Airflow", "level": "error"},
            ],
            "Last",
        ),
        ([{"event": "one", "level": "error"}, {"event": "two", "level": "critical"}], "two"),
    ],
)
def test_the_error_is_found_in_a_task_log(content: list[Any], message: str) -> None:
    assert demo.error_in(content).startswith(message)


def instance(task: str, state: str | None, *, at: str = "1", **known: Any) -> dict[str, Any]:
    usual = {"map_index": -1, "try_number": 1, "duration": 2.0, "start_date": at}
    return {"task_id": task, "state": state, **usual, **known}


class PlayedAirflow:
    """Answers as Airflow's API does in the course of a run, one moment after the other."""

    def __init__(self, moments: list[list[dict[str, Any]]]) -> None:
        self.moments, self.now = moments, -1
        self.checks = 0
        self.api = self

    def check(self) -> None:
        self.checks += 1

    def get(self, path: str) -> Any:
        if path.endswith("/run"):
            self.now = min(self.now + 1, len(self.moments) - 1)
            ended = self.now == len(self.moments) - 1
            return {"state": "success" if ended else "running"}
        if "/logs/" in path:
            attempt = path.split("/logs/")[1].split("?")[0]
            return {"content": [{"event": f"why {attempt}", "level": "error"}]}
        if path.endswith("xcomEntries/return_value"):
            return {"value": "gate/1"}
        offset = int(path.rpartition("=")[2])
        everything = self.moments[self.now]
        page = everything[offset : offset + demo.PAGE]
        return {"task_instances": page, "total_entries": len(everything)}


def followed(
    monkeypatch: pytest.MonkeyPatch, *moments: list[dict[str, Any]]
) -> tuple[demo.Follower, list[str]]:
    monkeypatch.setattr(demo, "POLL_SECONDS", 0)
    follower = demo.Follower(PlayedAirflow(list(moments)), "run")  # type: ignore[arg-type]
    return follower, [" ".join(line.split()) for line in follower.lines()]


def test_each_step_is_told_when_it_begins_and_ends_and_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    follower, lines = followed(
        monkeypatch,
        [instance("ingest", None, at="")],
        [instance("ingest", "running")],
        [instance("ingest", "running")],
        [instance("train", "running", map_index=3, at="2"), instance("ingest", "success")],
        [
            instance("gate", "upstream_failed", at=""),
            instance("train", "failed", map_index=3, at="2"),
            instance("ingest", "success", duration=61.4),
        ],
    )
    assert lines == [
        "ingest started",
        "ingest done in 2.0 s",
        "train [3] started",
        "train [3] failed: why 1",
        "gate not run, because a step before it failed",
    ]
    assert follower.states["train", 3] == "failed"
    assert follower.errors == {("train", 3): "why 1"}
    assert follower.value("ingest") == "gate/1"
    assert follower.value("gate") is None


def test_each_try_that_failed_is_told_even_if_two_passed_between_two_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, lines = followed(
        monkeypatch,
        [instance("ingest", "running")],
        [instance("ingest", "up_for_retry")],
        [instance("ingest", "running", try_number=2)],
        [instance("ingest", "success", try_number=4, duration=61.4)],
    )
    assert lines == [
        "ingest started",
        "ingest failed, will try again: why 1",
        "ingest started (try 2)",
        "ingest failed, will try again: why 2",
        "ingest failed, will try again: why 3",
        "ingest done in 61 s",
    ]


def test_more_tasks_than_one_answer_holds_are_all_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "PAGE", 2)
    many = [instance("train", "success", map_index=i, at=str(9 - i)) for i in range(5)]
    follower, lines = followed(monkeypatch, many)
    assert len(follower.states) == 5
    assert [line.split()[1] for line in lines] == ["[4]", "[3]", "[2]", "[1]", "[0]"]


def test_an_airflow_that_is_gone_ends_the_following(monkeypatch: pytest.MonkeyPatch) -> None:
    played = PlayedAirflow([[]])

    def lost(_: str) -> None:
        raise requests.ConnectionError("refused")

    monkeypatch.setattr(played, "get", lost)
    monkeypatch.setattr(demo, "LOST_SECONDS", 0.05)
    monkeypatch.setattr(demo, "POLL_SECONDS", 0.02)
    follower = demo.Follower(played, "run")  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match="Airflow does not answer any more: refused"):
        list(follower.lines())
    assert played.checks > 1


# --- what the command line says ------------------------------------------------------------------


def test_without_arguments_the_demo_is_synthetic() -> None:
    assert demo.parameters([]) == demo.SYNTHETIC
    assert demo.parameters(["--data", "", "--weights", ""]) == demo.SYNTHETIC


def test_data_and_weights_become_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.h5").touch()
    params = demo.parameters(["--data", ".", "--weights", "w.h5"])
    assert params == {**demo.REAL, "data": str(tmp_path), "weights": str(tmp_path / "w.h5")}


def test_other_settings_keep_their_types() -> None:
    params = demo.parameters([
        "--judged-on",
        "point",
        "--min-accuracy=null",
        "--views",
        "4",
        "--model-name",
        "123",
    ])
    assert params["judged_on"] == "point"
    assert params["min_accuracy"] is None
    assert params["views"] == 4
    assert params["model_name"] == "123"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--data", "no/such/folder"], "DATA: .*no/such/folder does not exist.*make demo DATA="),
        (["--weights", "none.h5"], "WEIGHTS: .*none.h5 does not exist"),
        (["--gate", "1"], "unrecognized arguments: --gate.*judged_on"),
        (["--epochs", "many"], "epochs: .*'many'"),
        (["--runs", "2", "--min-runs", "3"], "min_runs"),
    ],
)
def test_a_wrong_argument_is_told_before_anything_starts(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadInput, match=told):
        demo.parameters(arguments)
    assert demo.main(arguments, home=tmp_path / "home") == demo.FAILED
    assert not (tmp_path / "home").exists()
    assert "FAILED" in capsys.readouterr().out
