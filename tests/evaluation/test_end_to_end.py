"""The figures of a whole run on hard drawings: recomputed from what it wrote down."""

from __future__ import annotations

from typing import Any

import hard_run
import numpy as np
import pandas as pd
import pytest

from skin_pipeline import steps, tables
from skin_pipeline.contracts import (
    Dataset,
    Evaluation,
    Figures,
    Scored,
    Split,
    TrainedRun,
    Verdict,
    load,
)
from skin_pipeline.data import manifest
from skin_pipeline.evaluation import metrics
from skin_pipeline.evaluation.gate import SMOKE_TOLERANCE
from skin_pipeline.evaluation.metrics import Predictions, Sample


@pytest.fixture(scope="module")
def judged(hard: hard_run.Hard) -> Any:
    return load(hard.job.store, hard.evaluation, Evaluation)


@pytest.fixture(scope="module")
def scores(hard: hard_run.Hard, judged: Any) -> Any:
    """Every readable image's probabilities beside its sides, by key."""
    store = hard.job.store
    split = manifest.read_readable(store, load(store, hard.split, Split).table)
    sides = split.filter(regex=r"^run_\d$").add_prefix("side_").assign(key=split["key"])
    return tables.read_scores(store, judged.predictions).merge(sides, on="key")


def figures(
    table: pd.DataFrame, probabilities: str, threshold: float, hard: hard_run.Hard
) -> Figures:
    settings = hard.job.settings
    return metrics.figures(
        Predictions(table[probabilities].to_numpy(), threshold),
        Sample(
            manifest.labels(table),
            table["group"].to_numpy(object),
            settings.seed,
            settings.prevalence_list,
        ),
    )


def just_meets(target: Any, malignant: Any, threshold: Any) -> bool:
    return np.mean(malignant >= threshold) >= target > np.mean(malignant > threshold)


def test_thresholds_meet_the_target_on_images_that_were_not_learned_from(
    hard: hard_run.Hard, judged: Any, scores: Any
) -> None:
    target = hard.job.settings.target_sensitivity
    malignant = scores[scores["label"] == "malignant"]
    assert just_meets(target, malignant["held_out_probability"].dropna(), judged.threshold)
    for run, seen in judged.per_run.items():
        own = malignant.loc[malignant[f"side_run_{run}"] == "validation", f"run_{run}"]
        assert just_meets(target, own, seen.threshold)


def test_the_figures_are_those_of_what_was_written_down(
    hard: hard_run.Hard, judged: Any, scores: Any
) -> None:
    test = scores[scores["side_run_0"] == "test"]
    assert (scores["test"] == (scores["side_run_0"] == "test")).all()
    assert judged.ensemble == figures(test, "probability", judged.threshold, hard)
    for run, seen in judged.per_run.items():
        assert seen == figures(test, f"run_{run}", seen.threshold, hard)
    assert judged.seeds == {
        run.run: run.seed for run in (load(hard.job.store, key, TrainedRun) for key in hard.trained)
    }


def test_each_run_said_the_same_of_its_validation_images_when_it_was_trained(
    hard: hard_run.Hard, scores: Any
) -> None:
    """There it was asked for one view; what both say goes up and down together."""
    for key in hard.trained:
        run = load(hard.job.store, key, TrainedRun)
        logits = np.load(hard.job.store.local(run.held_out))
        own = scores.loc[scores[f"side_run_{run.run}"] == "validation", f"run_{run.run}"]
        assert len(own) == len(logits)
        assert np.corrcoef(pd.Series(logits).rank(), own.rank())[0, 1] > 0.8


def test_the_saved_model_says_the_same_of_views_and_temperature_inside(judged: Any) -> None:
    assert judged.views == 2
    assert judged.calibration.temperature > 1.5
    assert judged.smoke_difference < SMOKE_TOLERANCE


def test_a_set_of_another_origin_is_judged_at_the_models_threshold(
    hard: hard_run.Hard, judged: Any
) -> None:
    (seen,) = (load(hard.job.store, key, Scored) for key in hard.external)
    table = tables.read_scores(hard.job.store, seen.predictions)
    assert seen.figures == figures(table, "probability", judged.threshold, hard)
    assert table["group"].str.startswith("patient_id:").all()
    assert table["group"].nunique() < 0.6 * len(table)


def test_on_newer_data_the_champion_is_judged_on_patients_that_it_has_not_met(
    hard: hard_run.Hard, hard_later: hard_run.Later, judged: Any
) -> None:
    job = hard_later.job
    seen = load(job.store, steps.champion(job, hard_later.split), Scored)
    table = tables.read_scores(job.store, seen.predictions)
    split = manifest.read_readable(job.store, load(job.store, hard_later.split, Split).table)
    before = manifest.read(hard.job.store, load(hard.job.store, hard.split, Split).table)
    runs = before.filter(regex=r"^run_\d$")
    learned = before[runs.isin(["train", "validation"]).any(axis=1)]
    test = split[split["run_0"] == "test"]
    fresh = test[~test["group"].isin(learned["group"])]
    assert set(table["key"]) == set(fresh["key"])
    assert seen.excluded == len(test) - len(fresh)
    assert seen.figures == figures(table, "probability", judged.threshold, hard)


def test_a_second_model_is_compared_with_the_champion_image_by_image(
    hard: hard_run.Hard, judged: Any
) -> None:
    job = hard.job
    other = steps.evaluate(job, hard.split, hard.trained[:2], hard.validation)
    ours = load(job.store, other, Evaluation)
    verdict = load(
        job.store,
        steps.gate(job, other, hard.validation, steps.champion(job, hard.split)),
        Verdict,
    )
    scored = [
        tables.read_scores(job.store, model.predictions).query("test").set_index("key")
        for model in (ours, judged)
    ]
    right = [
        (table["probability"] >= model.threshold) == (table["label"] == "malignant")
        for table, model in zip(scored, (ours, judged), strict=True)
    ]
    seen = verdict.comparison
    assert seen.only_challenger == (right[0] & ~right[1]).sum()
    assert seen.only_champion == (right[1] & ~right[0]).sum()
    assert seen.only_challenger + seen.only_champion > 0
    assert seen.champion_figures == judged.ensemble
    assert seen.auc.value == pytest.approx(ours.ensemble.auc.value - judged.ensemble.auc.value)
    assert seen.auc.low < seen.auc.value < seen.auc.high


def test_slices_and_strata_are_of_the_test_set(
    hard: hard_run.Hard, judged: Any, scores: Any
) -> None:
    count = int(scores["test"].sum())
    for feature in ("sex", "age", "site", "original size"):
        assert sum(item.images for item in judged.slices if item.feature == feature) == count
    assert {item.shortcut for item in judged.within} >= {"file size", "original size"}
    assert all(0 < item.pairs < 1 for item in judged.within)
    assert load(hard.job.store, judged.dataset, Dataset).classes["malignant"] > count / 4
