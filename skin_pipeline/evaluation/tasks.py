"""The work of the steps `evaluate`, `external` and `gate`.

The door (`skin_pipeline.steps`) decides whether a result is made; these functions make it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skin_pipeline.arrays import Arrays
from skin_pipeline.contracts import (
    Dataset,
    Evaluation,
    Features,
    Mistake,
    Scored,
    Split,
    TrainedRun,
    Trunk,
    Validation,
    Verdict,
)
from skin_pipeline.data import manifest
from skin_pipeline.data.splitting import TEST, VALIDATION
from skin_pipeline.evaluation import gate as gates
from skin_pipeline.evaluation import saliency, scoring, slices, verdict
from skin_pipeline.evaluation.ensemble import Judging, Scores, score
from skin_pipeline.job import Work
from skin_pipeline.model_file import building, loading, trial
from skin_pipeline.storage import scratch
from skin_pipeline.training import backbone, inputs, models

log = logging.getLogger(__name__)

# Computes the features of all images of a data set, as the models of an evaluation read them; given
# the keys of the evaluation and of the data set.
FeaturesFor = Callable[[str, str], Sequence[str]]


@dataclass(frozen=True)
class Judged:
    """What an evaluation is made from: the runs, what they read, and the scores."""

    network: backbone.Network
    trunk: Trunk
    document: Split
    dataset: Dataset
    source: inputs.Source
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
    work: Work, split: str, runs: tuple[str, ...], shortcuts: tuple[str, ...]
) -> Evaluation:
    """Judges the ensemble and each run on the test set, and builds the self-contained model.

    Args:
        work: The making of the evaluation.
        split: Key of the split.
        runs: Keys of the runs.
        shortcuts: Names of the shortcuts that the images have.
    """
    document = work.load(split, Split)
    images = sum(work.load(document.dataset, Dataset).classes.values())
    work.job.expect("evaluate", images, len(runs) * work.settings.scored_views)
    judged = _judge(work, document, runs)
    scores, seed = judged.scores, work.settings.seed
    difference = _save(work, judged)
    _log(scores, difference)
    rows = judged.source.table[judged.is_test]
    tested = judged.probabilities[judged.is_test]
    return Evaluation(
        dataset=judged.document.dataset,
        split=split,
        synthetic=judged.dataset.synthetic,
        trunk=judged.trunk,
        strategy=judged.runs[0].strategy,
        views=work.settings.scored_views,
        runs=runs,
        seeds={run.run: run.seed for run in judged.runs},
        threshold=scores.ensemble.threshold,
        ensemble=scores.ensemble,
        per_run=scores.per_run,
        calibration=scores.calibration,
        slices=slices.slices(rows, tested, scores.ensemble.threshold, seed),
        within=slices.within(
            judged.source.table, judged.is_test, judged.probabilities, shortcuts, seed
        ),
        mistakes=_mistakes(work, judged),
        predictions=work.put_table("predictions.csv", scores.predictions),
        model=f"{work.key}/model.keras",
        smoke_difference=difference,
    )


def _judge(work: Work, split: Split, keys: tuple[str, ...]) -> Judged:
    """Scores test and golden images by all runs, and each run's own validation images.

    All other scores are NaN: that of an image that a run was trained on says nothing.
    """
    runs, settings = scoring.runs_of(work, keys), work.settings
    dataset = work.load(split.dataset, Dataset)
    source = inputs.source_of(work, split, runs[0].features)
    trunk = work.load(runs[0].features[0], Features).trunk
    network = models.network_on(work.job, dataset, trunk)
    golden = np.flatnonzero(source.table["key"].isin(list(dataset.golden)))
    everyone = np.union1d(source.rows(runs[0].run, TEST), golden)
    wanted = [np.union1d(everyone, source.rows(run.run, VALIDATION)) for run in runs]
    # Read once: what is scored here is what `model.keras` is made of.
    weights = [models.weights_of(work.store, run) for run in runs]
    logits = models.logits_of(network, source, runs, weights, wanted, settings.scored_views)
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


def _save(work: Work, judged: Judged) -> float:
    """Writes `model.keras`, loads it again, and returns the largest difference between its scores
    of golden images and those of the ensemble."""
    model = building.released_model(
        judged.network,
        judged.runs[0].strategy,
        judged.weights,
        judged.dataset.field_of_view,
        views=work.settings.scored_views,
        temperature=judged.scores.calibration.temperature,
    )
    golden = {name: work.store.read(copy) for name, copy in judged.dataset.golden.items()}
    with scratch() as folder:
        model.save(folder / "model.keras")
        loaded = loading.load(folder / "model.keras", work.threads)
        work.put_file("model.keras", folder / "model.keras")
    expected, found = judged.scores.by_key(), trial.probabilities(loaded, golden.values())
    # Of numpy, whose maximum is NaN where there is one.
    return float(np.max([abs(p - expected[name]) for name, p in zip(golden, found, strict=True)]))


def _mistakes(work: Work, judged: Judged) -> tuple[Mistake, ...]:
    """Returns the most confident mistakes, with what spoke for each call."""
    threshold = judged.scores.ensemble.threshold
    rows = saliency.most_confident(judged.scores.predictions, threshold)
    if rows.empty:
        return ()
    places = rows.index.to_numpy(np.int64)
    squares = judged.source.squares(places)
    strategy = judged.runs[0].strategy
    malignant = saliency.saliency(judged.network, strategy, judged.weights, squares)
    called = np.where(rows["probability"] >= threshold, 1, -1)
    return tuple(
        _mistake(work, f"mistakes/{number}", row, square, sign * spoke)
        for number, (row, square, sign, spoke) in enumerate(
            zip(rows.itertuples(), squares, called, malignant, strict=True)
        )
    )


def _mistake(
    work: Work, name: str, row: Any, square: NDArray[np.uint8], spoke: NDArray[np.float32]
) -> Mistake:
    return Mistake(
        key=row.key,
        label=row.label,
        probability=row.probability,
        square=work.put(f"{name}.jpg", saliency.jpeg(square)),
        saliency=work.put(f"{name}-saliency.jpg", saliency.jpeg(saliency.overlay(square, spoke))),
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


def external(
    work: Work, name: str, evaluation: str, validation: str, features_for: FeaturesFor
) -> Scored:
    """Scores a new model on a set of another origin, without images that its own data contain.

    Args:
        work: The making of the scores.
        name: Name of the set.
        evaluation: Key of the model's evaluation.
        validation: Key of the validation of the model's data, which names the set.
        features_for: Computes the features of the set.
    """
    checked = work.load(validation, Validation)
    dataset = checked.external[name]
    features = features_for(evaluation, dataset)
    images = sum(work.load(dataset, Dataset).classes.values())
    work.job.expect("external", images, work.settings.runs)
    source = scoring.external_source(work, dataset, features)
    shared = set(manifest.read(work.store, checked.overlaps[name])["key"])
    known = source.table["key"].isin(shared).to_numpy()
    about = scoring.Scoring(name, dataset, int(known.sum()))
    return scoring.scored(work, evaluation, about, source, ~known)


def gate(
    work: Work, evaluation: str, validation: str, champion: str, external: tuple[str, ...]
) -> Verdict:
    """Judges an evaluation, and writes the report and the model card; see `contracts.Verdict`."""
    result = work.load(evaluation, Evaluation)
    theirs = work.load(champion, Scored) if champion else None
    comparison = verdict.compared(work.store, work.settings, result, evaluation, theirs)
    checks = gates.judge(
        result,
        work.settings,
        evaluation_key=evaluation,
        champion=theirs,
        comparison=comparison,
        external=[work.load(item, Scored) for item in external],
    )
    judged = Verdict(
        evaluation=evaluation,
        validation=validation,
        champion=champion,
        external=external,
        released_as=work.settings.released_as,
        approved=all(check.passed for check in checks),
        checks=checks,
        reasons=gates.reasons(checks),
        comparison=comparison,
        settings=work.settings.model_dump(),
        versions=verdict.versions(),
        seconds=verdict.seconds(work.store, evaluation, validation, champion, external),
        judged_at=work.job.moment,
        report=f"{work.key}/report.html",
        card=f"{work.key}/card.md",
        card_data=f"{work.key}/card.json",
    )
    verdict.put_pages(work.store, judged, result)
    return judged
