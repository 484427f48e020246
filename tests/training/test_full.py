"""The strategy `full`: all of the network on live images."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hard_run import Hard

from skin_pipeline import steps
from skin_pipeline.contracts import Evaluation, Split, TrainedRun, load
from skin_pipeline.data import manifest
from skin_pipeline.intervals import auc

if TYPE_CHECKING:
    from tests.conftest import Finished


@pytest.mark.exhaustive
def test_a_run_is_mirrored_over_devices_in_mixed_precision(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, str(Path(__file__).parents[1] / "support/mirrored_run.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    (line,) = [line for line in run.stdout.splitlines() if line.startswith("SEEN")] or [run.stderr]
    assert line == "SEEN MirroredVariable float16 float32 2 float32 float32 True"


def test_a_network_is_trained_end_to_end_and_judged(hard: Hard) -> None:
    job, store = hard.job, hard.job.store
    knobs = {"strategy": "full", "epochs": 6, "tune_epochs": 1, "runs": 1, "min_runs": 1}
    knobs |= {"jitter": 0.1, "tune_learning_rate": 1e-5}
    settings = type(job.settings)(**{**job.settings.model_dump(), **knobs})
    job = type(job)(settings, job.deployment, store)
    # Of run 1, whose sides are others than those of run 0.
    key = steps.train(job, hard.split, hard.index, 1)
    run = load(store, key, TrainedRun)
    assert [line.stage for line in run.history] == ["head"] * 6 + ["full"]
    table = manifest.read_readable(store, load(store, hard.split, Split).table)
    rows = np.flatnonzero(table["run_1"] == "validation")
    held_out = np.load(store.local(run.held_out)).astype(float)
    assert auc(held_out, manifest.labels(table)[rows]) == pytest.approx(run.best.validation_auc)
    # It begins where the head was, and moves on from there.
    head = load(store, hard.trained[1], TrainedRun).history[:6]
    assert [line.loss for line in run.history[:6]] == pytest.approx([line.loss for line in head])
    best = max(line.validation_auc for line in head)
    assert abs(run.history[-1].validation_auc - best) < 0.2
    assert run.history[-1].validation_auc != best
    seen = load(store, steps.evaluate(job, hard.split, [key], hard.validation), Evaluation)
    assert seen.smoke_difference < 0.02
    assert 0.6 < seen.ensemble.auc.value < 1


@pytest.mark.parametrize("strategy", ["fine_tune", "full"])
def test_smote_is_refused_where_there_are_no_features_to_make(
    finished: Finished, strategy: str
) -> None:
    with pytest.raises(ValueError, match=r"balance=smote.*strategy=head"):
        type(finished.job.settings)(**{
            **finished.job.settings.model_dump(),
            "balance": "smote",
            "strategy": strategy,
        })
