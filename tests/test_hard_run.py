"""The run on drawings that are hard to tell apart is hard enough: what other tests rely on."""

from __future__ import annotations

from typing import Any

import hard_run
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from skin_pipeline.contracts import (
    Dataset,
    Evaluation,
    Scored,
    Split,
    TrainedRun,
    Validation,
    load,
)
from skin_pipeline.data import manifest


@pytest.fixture(scope="module")
def judged(hard: hard_run.Hard) -> Any:
    return load(hard.job.store, hard.evaluation, Evaluation)


@pytest.fixture(scope="module")
def table(hard: hard_run.Hard) -> Any:
    return manifest.read(hard.job.store, load(hard.job.store, hard.split, Split).table)


def test_the_classes_overlap_and_can_be_told_apart_in_part(judged: Any) -> None:
    for seen in (judged.ensemble, *judged.per_run.values()):
        assert 0.65 < seen.auc.value < 0.9


def test_classes_are_of_unequal_size_and_patients_have_several_images(
    hard: hard_run.Hard, table: Any
) -> None:
    classes = load(hard.job.store, hard.dataset, Dataset).classes
    assert classes["benign"] > 1.2 * classes["malignant"]
    assert table.groupby("group").size().median() >= 3


def test_the_sides_differ_between_runs_but_for_the_test_set(table: Any) -> None:
    runs = [table[f"run_{run}"] for run in range(3)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (runs[one] == "test").equals(runs[other] == "test")
        shared = (runs[one] == "validation") & (runs[other] == "validation")
        assert shared.sum() < 0.6 * (runs[one] == "validation").sum()


def test_the_auc_of_every_run_peaks_before_its_last_epoch(hard: hard_run.Hard) -> None:
    for key in hard.trained:
        run = load(hard.job.store, key, TrainedRun)
        assert 1 < run.best.epoch < len(run.history) < hard.job.settings.epochs


def test_a_threshold_that_is_set_before_calibration_gives_other_calls(
    hard: hard_run.Hard, judged: Any
) -> None:
    table = pd.read_csv(hard.job.store.local(judged.predictions))
    probabilities = table["probability"][table["test"]]
    before = expit(logit(judged.threshold) * judged.calibration.temperature)
    assert judged.calibration.temperature > 1.5
    assert ((probabilities >= before) != (probabilities >= judged.threshold)).any()


def test_an_external_set_of_another_light_shares_images_with_ours(hard: hard_run.Hard) -> None:
    (scored,) = (load(hard.job.store, key, Scored) for key in hard.external)
    assert scored.excluded == 2
    assert 0.65 < scored.figures.auc.value < 0.95


def test_the_audit_finds_shortcuts_and_passes_others(hard: hard_run.Hard) -> None:
    found = load(hard.job.store, hard.validation, Validation).shortcuts
    failed = {item.name for item in found if not item.passed}
    assert {"file size", "original size"} <= failed
    assert not {"border ring colour", "mean colour"} & failed


def test_the_second_version_has_new_images_lost_some_and_relabelled_some(
    hard: hard_run.Hard, hard_later: hard_run.Later
) -> None:
    changes = load(hard_later.job.store, hard_later.validation, Validation).changes
    assert changes.previous == hard.validation
    assert (changes.added, changes.removed, changes.relabelled) == (
        len(hard_later.added),
        len(hard_later.removed),
        len(hard_later.relabelled),
    )
    assert min(changes.added, changes.removed, changes.relabelled) > 1
    assert np.isin(
        sorted(hard_later.added | hard_later.relabelled),
        manifest.read(
            hard_later.job.store,
            load(hard_later.job.store, hard_later.dataset, Dataset).table,
        )["key"],
    ).all()
