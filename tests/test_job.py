"""A result is made once, found afterwards, and never half there."""

from __future__ import annotations

import dataclasses
import json
import logging
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import documents
import pytest

from skin_pipeline.config import Deployment, Settings
from skin_pipeline.contracts import Cost, Verdict, address, load, parse
from skin_pipeline.job import Job, Work
from skin_pipeline.storage import FolderStore, digest, scratch

INPUTS: dict[str, Any] = {"split": "split/1", "runs": ("train/1", "train/2")}


@pytest.fixture
def job(store: FolderStore) -> Job:
    return Job(Settings(), Deployment(store=store.url, threads=3), store)


@pytest.fixture
def made() -> list[Any]:
    """Keys for which work was done."""
    return []


def once(
    job: Job,
    made: list[Any],
    step: str = "gate",
    version: int = 1,
    inputs: dict[str, Any] = INPUTS,
    **changes: Any,
) -> str:
    def make(work: Any) -> Verdict:
        made.append(work.key)
        work.put("report.html", b"a file of the result")
        return documents.verdict(**changes)

    return job.once(step, version, inputs, make)


def test_a_result_is_made_once_and_found_afterwards(
    job: Job, made: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    key = once(job, made)
    assert load(job.store, key, Verdict) == documents.verdict()
    before = job.store.list("")
    with caplog.at_level(logging.INFO):
        assert once(job, made, reasons=("another",)) == key
    assert made == [key]
    assert job.store.list("") == before
    assert f"cached key={key}" in caplog.text


@pytest.mark.parametrize(
    "other",
    [
        {"step": "evaluate"},
        {"version": 2},
        {"inputs": {**INPUTS, "split": "split/2"}},
        {"inputs": {**INPUTS, "seed": 0}},
        {"inputs": {**INPUTS, "runs": ("train/2", "train/1")}},
        {"inputs": {"split": "split/1"}},
    ],
)
def test_what_is_made_of_other_things_is_another_result(
    job: Job, made: list[Any], other: Any
) -> None:
    assert once(job, made) != once(job, made, **other)
    assert len(made) == 2


def test_a_key_names_its_step_and_is_the_same_in_another_store(
    job: Job, made: list[Any], tmp_path: Path
) -> None:
    elsewhere = dataclasses.replace(job, store=FolderStore(tmp_path / "elsewhere"))
    key = once(job, made)
    assert key.split("/")[0] == "gate"
    assert once(elsewhere, made) == key


def test_a_result_that_could_not_be_made_is_made_by_the_next_try(job: Job, made: list[Any]) -> None:
    def fail(work: Any) -> Verdict:
        work.put("report.html", b"half of it")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job.once("gate", 1, INPUTS, fail)
    assert not [key for key in job.store.list("") if not key.endswith("report.html")]
    key = once(job, made)
    assert made[0].startswith(f"{key}/again_")  # what the first try has left is not taken over
    assert job.store.read(f"{made[0]}/report.html") == b"a file of the result"


def test_a_result_that_is_there_has_its_files_and_what_it_took(
    job: Job, made: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The document is written last: whoever sees it finds all that it names."""
    order, put = [], FolderStore.put

    def noting(self: Any, key: Any, data: Any) -> Any:
        order.append(key.split("/", 2)[2])
        return put(self, key, data)

    monkeypatch.setattr(FolderStore, "put", noting)
    key = once(job, made)
    proof = f"proofs/of_{digest(job.store.read(f'{key}/result.json'))}.json"
    assert order == ["report.html", "cost.json", proof, "result.json"]
    cost = parse(job.store.read(f"{key}/cost.json"), Cost, key)
    assert cost.cores == 3
    assert 0 <= cost.seconds < 60
    finished = datetime.fromisoformat(cost.finished_at)
    assert abs(datetime.now(timezone.utc) - finished) < timedelta(minutes=5)


def test_what_a_result_took_is_the_time_of_the_work(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter((100.0, 107.25))
    monkeypatch.setattr("skin_pipeline.metering.time.monotonic", lambda: next(now))
    key = job.once("gate", 1, INPUTS, lambda _: documents.verdict())
    assert json.loads(job.store.read(f"{key}/cost.json"))["seconds"] == pytest.approx(7.25)


def test_a_cost_says_what_was_done_and_by_which_run(job: Job) -> None:
    told: list[tuple[Any, ...]] = []
    job = dataclasses.replace(job, run_id="scheduled", observe=lambda *about: told.append(about))

    def make(work: Work) -> Verdict:
        work.job.expect("evaluate", 30, 4)
        work.put("a file", bytes(1000))
        assert work.store.read(f"{work.key}/a file") == bytes(1000)
        return documents.verdict()

    key = job.once("gate", 1, INPUTS, make)
    cost = parse(job.store.read(f"{key}/cost.json"), Cost, key)
    assert (cost.bytes_read, cost.bytes_written) == (1000, 1000)
    assert (cost.work, cost.units, cost.run) == ("evaluate", 120, "scheduled")
    assert cost.core_seconds is not None
    assert 0 <= cost.core_seconds < 60 < cost.peak_mib * 60
    job.once("gate", 1, INPUTS, make)
    assert told == [(job, key, cost), (job, key, None)]  # made, and then found


def test_a_cost_of_an_earlier_version_can_be_read() -> None:
    old = b'{"schema_version": 1, "seconds": 2.5, "cores": 2, "finished_at": "2026-01-01"}'
    assert parse(old, Cost, "old").core_seconds is None


def test_an_address_stays_what_it_is_and_is_long_enough_for_many_results() -> None:
    """Another address of the same inputs would make every result of every store anew."""
    assert address({"version": 1, "split": "split/1", "runs": ("a", "b")}) == "68d3e3d8f29baa41e35f"
    assert len({address({"number": number}) for number in range(20_000)}) == 20_000
    assert len(address({})) == 20


def test_the_moment_of_a_run_is_told_to_the_second(job: Job) -> None:
    started = datetime(2026, 3, 4, 5, 6, 7, 890, tzinfo=timezone.utc)
    assert dataclasses.replace(job, started=started).moment == "2026-03-04T05:06:07Z"


def test_a_run_started_now_unless_it_is_told_otherwise(job: Job) -> None:
    assert abs(datetime.now(timezone.utc) - job.started) < timedelta(minutes=5)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_a_scratch_folder_is_gone_afterwards_whatever_happens(
    error: type[Exception] | None,
) -> None:
    try:
        with scratch() as folder:
            (folder / "file").write_text("x")
            if error:
                raise error
    except KeyboardInterrupt:
        pass
    assert not folder.exists()
