"""Loops that take long on large data tell how far they are: none of them falls silent."""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import pytest
import score_rows
import watched_days
from image_folders import lay_out
from released import MODEL, opened, releases
from sorted_images import buckets, points

from skin_pipeline.config import Deployment
from skin_pipeline.contracts import Dataset, Split, load
from skin_pipeline.data import audit, manifest, sources
from skin_pipeline.data.duplicates.candidates import neighbours
from skin_pipeline.data.sources import SourceFile, from_zip
from skin_pipeline.evaluation import familiarity, slices
from skin_pipeline.evaluation.metrics import Predictions
from skin_pipeline.intervals import auc_interval
from skin_pipeline.job import Job
from skin_pipeline.monitoring import (
    chunks,
    drift,
    estimates,
    exporting,
    reference,
    report,
    score_log,
)
from skin_pipeline.monitoring.labels import bring_back
from skin_pipeline.release import chain, scores
from skin_pipeline.release.predict import Prediction
from skin_pipeline.storage import FolderStore, Store, copied, digest_file, read_back
from skin_pipeline.training import inputs

if TYPE_CHECKING:
    from tests.conftest import Finished

Told = Callable[[], set[str]]


@pytest.fixture
def source(finished: Finished) -> inputs.Source:
    """What the runs of the shared run read."""
    store, split = finished.job.store, load(finished.job.store, finished.split, Split)
    shards = load(store, split.dataset, Dataset).shards
    table = manifest.read_readable(store, split.table)
    return inputs.Source(store, table, tuple(finished.features), shards)


# --- data -----------------------------------------------------------------------------------------


def test_files_that_are_compared(tmp_path: Path, told: Told) -> None:
    assert sources.find(lay_out(tmp_path, "benign/a.jpg", "malignant/b.jpg")).digest
    assert "files compared" in told()


def test_files_that_are_extracted(tmp_path: Path, told: Told) -> None:
    folder = lay_out(tmp_path / "in", "benign/a.jpg", "malignant/b.jpg")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in folder.rglob("*.jpg"):
            archive.write(path, path.relative_to(folder))
    from_zip.extract(tmp_path / "a.zip", tmp_path / "out")
    assert "files extracted" in told()


def test_near_duplicates_that_are_searched(told: Told) -> None:
    images = buckets(points(60, clustered=True), 4)
    neighbours(images, images, 0)
    assert "buckets looked at" in told()


def test_shortcuts_that_are_audited(
    finished: Finished, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "TREES", 2)
    split = load(finished.job.store, finished.split, Split)
    table = manifest.read_readable(finished.job.store, split.table)
    audit.audit(table, 0.6, seed=0)
    is_test = np.arange(len(table)) % 2 == 0
    slices.within(table, is_test, np.linspace(0, 1, len(table)), ["mean colour"], seed=0)
    assert told() >= {"features audited", "features learned from", "shortcuts judged"}


# --- training and evaluation ----------------------------------------------------------------------


def test_features_that_are_read_and_compared(source: inputs.Source, told: Told) -> None:
    rows = np.arange(60)
    pooled = familiarity.pooled_of(source, rows)
    known = familiarity.fitted(pooled[:40], rows[:40] % 2, pooled[40:])
    familiarity.of_rows(known, source, rows)
    assert told() >= {
        "shards joined",
        "files opened",
        "batches compared with what is familiar",
    }


def test_figures_of_slices_and_their_intervals(finished: Finished, told: Told) -> None:
    split = load(finished.job.store, finished.split, Split)
    table = manifest.read_readable(finished.job.store, split.table)[:80]
    table = table.assign(sex=["male", "female"] * 40)
    slices.slices(table, Predictions(np.linspace(0, 1, 80), 0.5), seed=0)
    assert "slices judged" in told()
    auc_interval(np.linspace(0, 1, 80), np.arange(80) % 2, np.arange(80), seed=0)
    assert "blocks of resamples drawn" in told()


# --- release --------------------------------------------------------------------------------------


def test_results_that_a_promotion_verifies(finished: Finished, told: Told) -> None:
    chain.check(finished.job.proven, finished.verdict)
    assert "results verified" in told()


def test_versions_that_are_removed(store: FolderStore, told: Told) -> None:
    releases(store, 2)
    assert opened(store).prune(1, dry_run=False)
    assert told() >= {"versions looked at", "versions removed"}


def test_images_that_are_scored_on_the_command_line(
    monkeypatch: pytest.MonkeyPatch, told: Told
) -> None:
    row = Prediction("a.jpg", None, "", "damaged")
    monkeypatch.setattr(scores, "predict", lambda *_args, **_more: iter([row]))
    job: Any = SimpleNamespace(threads=1, deployment=Deployment())
    list(scores._rows(job, [SourceFile("a.jpg", Path("x"))], cast(Any, None), Counter()))
    assert told() == {"images scored"}


# --- monitoring -----------------------------------------------------------------------------------


@pytest.fixture
def scored(store: FolderStore) -> FolderStore:
    """A store with a log of scores."""
    score_rows.write(store, MODEL, {"a.jpg": 0.9, "b.jpg": 0.1})
    return store


def test_scores_that_are_exported(scored: FolderStore, tmp_path: Path, told: Told) -> None:
    exporting.export(scored, MODEL, tmp_path / "scores.csv")
    assert "tables exported" in told()


def test_labels_that_are_read_and_images_that_are_kept(
    scored: FolderStore, tmp_path: Path, make_job: Callable[..., Job], told: Told
) -> None:
    (tmp_path / "labels.csv").write_text("image,label\na.jpg,malignant\n")
    bring_back(make_job(), str(tmp_path / "labels.csv"), MODEL)
    assert "files of labels read" in told()


def test_days_that_are_judged(store: FolderStore, told: Told) -> None:
    drift.follow(watched_days.days(0, 2), watched_days.reference_of())
    assert "days judged" in told()
    batch = watched_days.put_day(store, watched_days.rows(0))
    assert batch
    batches = list(score_log.batches(store, watched_days.MODEL))
    report._rows(store, batches)
    assert "tables read" in told()


def test_estimates_without_labels(told: Told) -> None:
    chances = np.linspace(0.1, 0.9, 20)
    about: dict[str, Any] = {
        "truth": -1,
        "version": "4f1a",
        "scored_at": pd.Timestamp("2026-09-01", tz="UTC"),
    }
    rows = pd.DataFrame({"probability": chances, "positive": chances >= 0.4}).assign(**about)
    estimates._estimated(rows)
    assert "resamples drawn" in told()


def test_images_of_a_chunk_that_are_compared(tmp_path: Path, told: Told) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    chunk: Any = type("Chunk", (), {"source": "/in"})()
    listed = [sources.Listed("a.jpg", "", "1")]
    assert list(chunks._found(chunk, listed, {"a.jpg": tmp_path / "a.jpg"}))
    assert told() == {"files compared"}


def test_images_of_a_reference_that_are_measured(source: inputs.Source, told: Told) -> None:
    reference._measured(source, np.arange(4))
    assert "batches measured" in told()


# --- bytes of large files -------------------------------------------------------------------------


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as large, and goes to S3 in parts."""
    monkeypatch.setattr("skin_pipeline.storage.digests.TOLD_FROM", 1)
    monkeypatch.setattr("skin_pipeline.storage.s3.parts.PARTS_FROM_BYTES", 5 << 20)
    monkeypatch.setattr("skin_pipeline.storage.s3.parts.PART_BYTES", 5 << 20)
    path = tmp_path / "large"
    path.write_bytes(os.urandom(6 << 20))
    return path


def test_bytes_that_are_compared_written_and_read(
    any_store: Store, large: Path, tmp_path: Path, told: Told
) -> None:
    digest_file(large)
    assert told() == {"bytes compared"}
    any_store.put_file("a/b", large)
    written = "bytes copied" if isinstance(any_store, FolderStore) else "bytes sent"
    assert written in told()


@pytest.mark.parametrize("read", [copied, read_back])
def test_bytes_that_are_copied_here(
    any_store: Store, large: Path, tmp_path: Path, read: Any, caplog: Any, told: Told
) -> None:
    any_store.put_file("a/b", large)
    caplog.clear()
    read(any_store, "a/b", tmp_path / "copy")
    assert "bytes copied" in told()


def test_a_small_file_has_no_progress_of_its_own(tmp_path: Path, told: Told) -> None:
    (tmp_path / "small").write_bytes(b"x")
    digest_file(tmp_path / "small")
    assert told() == set()
