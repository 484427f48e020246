"""The strategy `full`: all of the network on live images."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from skin_pipeline import steps
from skin_pipeline.contracts import Evaluation, TrainedRun, load


def test_a_run_is_mirrored_over_devices_in_mixed_precision(tmp_path):
    run = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("mirrored_run.py")), str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    (line,) = [line for line in run.stdout.splitlines() if line.startswith("SEEN")] or [run.stderr]
    assert line == "SEEN MirroredVariable float16 float32 2 float32 float32 True"


def test_a_network_is_trained_end_to_end_and_judged(finished):
    job = finished.job
    knobs = {
        "strategy": "full",
        "epochs": 2,
        "tune_epochs": 1,
        "runs": 1,
        "min_runs": 1,
        "jitter": 0.1,
    }
    settings = type(job.settings)(**{**job.settings.model_dump(), **knobs})
    job = type(job)(settings, job.place, job.store)
    key = steps.train(job, finished.split, finished.features, 0)
    run = load(job.store, key, TrainedRun)
    assert [line.stage for line in run.history] == ["head", "head", "full"]
    seen = load(
        job.store, steps.evaluate(job, finished.split, [key], finished.validation), Evaluation
    )
    assert seen.smoke_difference < 0.02
    assert np.isfinite(seen.ensemble.auc.value)


@pytest.mark.parametrize("strategy", ["fine_tune", "full"])
def test_smote_is_refused_where_there_are_no_features_to_make(finished, strategy):
    with pytest.raises(ValueError, match=r"balance=smote.*strategy=head"):
        type(finished.job.settings)(**{
            **finished.job.settings.model_dump(),
            "balance": "smote",
            "strategy": strategy,
        })
