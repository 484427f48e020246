"""The work of the step `evaluate`, from documents to a document."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skin_pipeline import tables
from skin_pipeline.config import threads
from skin_pipeline.contracts import (
    Dataset,
    Evaluation,
    Features,
    Mistake,
    Split,
    TrainedRun,
    Trunk,
    load,
)
from skin_pipeline.data.splitting import TEST, VALIDATION
from skin_pipeline.evaluation import saliency, scoring, slices
from skin_pipeline.evaluation.ensemble import Judging, Scores, score
from skin_pipeline.job import Job, scratch
from skin_pipeline.model_file import loading, trial
from skin_pipeline.model_file.building import released_model
from skin_pipeline.storage import Store
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.checkpoints import Arrays
from skin_pipeline.training.inputs import Squares
from skin_pipeline.training.plan import Source
from skin_pipeline.training.tasks import network_on, source_of, weights_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """What an evaluation is made from: the runs, what they read, and the scores."""

    network: Network
    trunk: Trunk
    document: Split
    dataset: Dataset
    source: Source
    runs: list[TrainedRun]
    weights: list[Arrays]
    scores: Scores

    @property
    def is_test(self) -> NDArray[np.bool_]:
        """Which images (n,) are test images."""
        return self.scores.predictions["test"].to_numpy(bool)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """The ensemble's, of all images (n,); NaN where they would say nothing."""
        return self.scores.predictions["probability"].to_numpy(np.float64)


def evaluate(
    job: Job, key: str, split: str, keys: tuple[str, ...], shortcuts: tuple[str, ...]
) -> Evaluation:
    """Judge the ensemble and each run on the test set, and build the self-contained model."""
    judged = _judge(job, load(job.store, split, Split), keys)
    scores, seed = judged.scores, job.settings.seed
    difference = _save(job, key, judged)
    _log(scores, difference)
    rows = judged.source.table[judged.is_test]
    tested = judged.probabilities[judged.is_test]
    return Evaluation(
        dataset=judged.document.dataset,
        split=split,
        synthetic=judged.dataset.synthetic,
        trunk=judged.trunk,
        strategy=judged.runs[0].strategy,
        views=job.settings.scored_views,
        runs=keys,
        seeds={run.run: run.seed for run in judged.runs},
        threshold=scores.ensemble.threshold,
        ensemble=scores.ensemble,
        per_run=scores.per_run,
        calibration=scores.calibration,
        slices=slices.slices(rows, tested, scores.ensemble.threshold, seed),
        within=slices.within(
            judged.source.table, judged.is_test, judged.probabilities, shortcuts, seed
        ),
        mistakes=_mistakes(job.store, key, judged),
        predictions=tables.write(job.store, f"{key}/predictions.csv", scores.predictions),
        model=f"{key}/model.keras",
        smoke_difference=difference,
    )


def _judge(job: Job, split: Split, keys: tuple[str, ...]) -> Judged:
    """Score test and golden images by all runs, and each run's own validation images.

    NaN where nobody needs them: a training image's score says nothing.
    """
    runs, settings = scoring.runs_of(job.store, keys), job.settings
    dataset = load(job.store, split.dataset, Dataset)
    source = source_of(job, split, runs[0].features)
    trunk = load(job.store, runs[0].features[0], Features).trunk
    network = network_on(job, dataset, trunk)
    golden = np.flatnonzero(source.table["key"].isin(list(dataset.golden)))
    everyone = np.union1d(source.rows(runs[0].run, TEST), golden)
    wanted = [np.union1d(everyone, source.rows(run.run, VALIDATION)) for run in runs]
    # Read once: what is scored here is what `model.keras` is made of.
    weights = [weights_of(job.store, run) for run in runs]
    logits = scoring.logits_of(network, source, runs, weights, wanted, settings.scored_views)
    scores = score(
        source.table,
        logits,
        [run.run for run in runs],
        Judging(
            settings.target_sensitivity,
            settings.threshold_by,
            settings.prevalence_list,
            settings.seed,
        ),
    )
    return Judged(network, trunk, split, dataset, source, runs, weights, scores)


def _save(job: Job, key: str, judged: Judged) -> float:
    """Put `model.keras` into the store; the largest difference on golden images after loading it
    again."""
    model = released_model(
        judged.network,
        judged.runs[0].strategy,
        judged.weights,
        judged.dataset.field_of_view,
        views=job.settings.scored_views,
        temperature=judged.scores.calibration.temperature,
    )
    golden = {name: job.store.read(copy) for name, copy in judged.dataset.golden.items()}
    with scratch() as folder:
        model.save(folder / "model.keras")
        loaded = loading.load(folder / "model.keras", threads(job.deployment))
        job.store.put_file(f"{key}/model.keras", folder / "model.keras")
    expected, found = judged.scores.by_key(), trial.probabilities(loaded, golden.values())
    # Of numpy, whose maximum is NaN where there is one.
    return float(np.max([abs(p - expected[name]) for name, p in zip(golden, found, strict=True)]))


def _mistakes(store: Store, key: str, judged: Judged) -> tuple[Mistake, ...]:
    """The most confident mistakes, with what spoke for each call."""
    threshold = judged.scores.ensemble.threshold
    rows = saliency.most_confident(judged.scores.predictions, threshold)
    if rows.empty:
        return ()
    places = rows.index.to_numpy(np.int64)
    squares = Squares(store, judged.source.shards).take(places, np.zeros_like(places))[0]
    squares = squares.astype(np.uint8)
    strategy = judged.runs[0].strategy
    malignant = saliency.saliency(judged.network, strategy, judged.weights, squares)
    called = np.where(rows["probability"] >= threshold, 1, -1)
    return tuple(
        _mistake(store, f"{key}/mistakes/{number}", row, square, sign * spoke)
        for number, (row, square, sign, spoke) in enumerate(
            zip(rows.itertuples(), squares, called, malignant, strict=True)
        )
    )


def _mistake(
    store: Store, place: str, row: Any, square: NDArray[np.uint8], spoke: NDArray[np.float32]
) -> Mistake:
    store.put(f"{place}.jpg", saliency.jpeg(square))
    store.put(f"{place}-saliency.jpg", saliency.jpeg(saliency.overlay(square, spoke)))
    return Mistake(
        key=row.key,
        label=row.label,
        probability=row.probability,
        square=f"{place}.jpg",
        saliency=f"{place}-saliency.jpg",
    )


def _log(scores: Scores, difference: float) -> None:
    figures = scores.ensemble
    log.info(
        "evaluated images=%d accuracy=%.4f sensitivity=%.4f specificity=%.4f auc=%.4f "
        "threshold=%.4f temperature=%.3f brier=%.4f smoke_difference=%.5f",
        figures.images,
        figures.accuracy.value,
        figures.sensitivity.value,
        figures.specificity.value,
        figures.auc.value,
        figures.threshold,
        scores.calibration.temperature,
        figures.brier.value,
        difference,
    )
