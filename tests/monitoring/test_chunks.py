"""One chunk: what of it is read and scored, without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skin_pipeline.contracts import ScoringChunk, dump
from skin_pipeline.data import sources
from skin_pipeline.job import Job
from skin_pipeline.monitoring import chunks, ledger, score_log
from skin_pipeline.release import predict
from skin_pipeline.storage import digest

PNG = b"\x89PNG\r\n\x1a\n"
KEY = "scoring/skin/chunks/4f1a"


class Scorer:
    """Stands for a network: the probability of an image is its last byte."""

    threshold = 0.5
    asked: list[str]

    def __init__(self) -> None:
        self.asked = []
        self.engines: list[str] = []

    def look(self, images: Iterable[Path]) -> Iterator[predict.Look]:
        for path in images:
            data = path.read_bytes()
            self.asked.append(path.name)
            if data.endswith(b"!"):
                row = predict.Prediction(str(path), None, "", f"{path.name}: cut off")
                yield predict.Look(row, digest(data), None, None)
                continue
            probability = data[-1] / 255
            label = ("benign", "malignant")[probability >= 0.5]
            row = predict.Prediction(str(path), probability, label, "")
            square = np.full((16, 16, 3), data[-1], np.uint8)
            yield predict.Look(row, digest(data), square, np.ones(4, np.float32))


@pytest.fixture
def scorer(monkeypatch: pytest.MonkeyPatch) -> Scorer:
    made = Scorer()

    def of(model: None, threads: int, engine: str) -> Scorer:
        made.engines.append(engine)
        return made

    monkeypatch.setattr(predict.Scorer, "of", of)
    monkeypatch.setattr(predict, "resolve", lambda *_: None)
    return made


@pytest.fixture
def job(make_job: Callable[..., Job]) -> Job:
    made = make_job()
    deployment = made.deployment.model_copy(update={"scoring_engine": "openvino"})
    return replace(made, deployment=deployment)


@pytest.fixture
def scored(job: Job, tmp_path: Path) -> Callable[..., Any]:
    """Scores files of a folder as one chunk."""
    folder = tmp_path / "new"
    folder.mkdir()

    def score(**files: bytes) -> Any:
        for name, data in files.items():
            (folder / f"{name}.png").write_bytes(data)
        listed = sources.listed(job, str(folder)).images
        about = {"model": "skin", "alias": "champion", "version": "1" * 20, "run": "manual__1"}
        chunk = ScoringChunk(
            **about, source=str(folder), began_at="", images=tuple(map(tuple, listed))
        )
        job.store.remove(f"{KEY}/{chunks.TODO}")
        job.store.put(f"{KEY}/{chunks.TODO}", dump(chunk))
        return chunks.scored(job, KEY)

    return score


def test_each_image_is_looked_at_once(job: Job, scorer: Scorer, scored: Any) -> None:
    result = scored(a=PNG + b"\xff", b=PNG + b"\x01", again=PNG + b"\xff")
    assert scorer.asked == ["a.png", "b.png"]
    assert scorer.engines == [job.deployment.scoring_engine]
    assert result.counts == {"malignant": 1, "benign": 1, "known": 1, "gone": 0}
    rows = score_log.read(job.store, result.rows)
    assert list(rows["image"]) == ["a.png", "b.png"]
    assert tuple(rows["digest"]) == result.ids
    assert len(result.seen) == 3


def test_known_bytes_are_not_looked_at(job: Job, scorer: Scorer, scored: Any) -> None:
    known = ledger.Entry("elsewhere", digest(PNG + b"\xff"))
    ledger.claim(job.store, "skin", "1" * 20, {"other": [known]})
    result = scored(a=PNG + b"\xff")
    assert (result.rows, result.ids) == ("", ())
    assert result.counts == {"known": 1, "gone": 0}
    assert scorer.asked == []


def test_a_problem_is_told_without_the_name_that_is_beside_it(
    job: Job, scorer: Scorer, scored: Any
) -> None:
    result = scored(a=PNG + b"!", b=PNG + b"\x01")
    rows = score_log.read(job.store, result.rows).set_index("image")
    assert rows.loc["a.png", "problem"] == "cut off"
    assert rows[["probability", "red"]].isna().loc["a.png"].all()
    assert rows.loc["b.png", "red"] == pytest.approx(1 / 255)
    assert result.counts["unreadable"] == 1


def test_the_time_for_the_work_is_told(job: Job, scorer: Scorer, scored: Any) -> None:
    told: list[str] = []
    allowed = replace(job, allow=lambda seconds, work: told.append(work))
    scored(a=PNG + b"\x01")
    chunks.scored(allowed, KEY)
    assert told == ["score of 1 images"]
