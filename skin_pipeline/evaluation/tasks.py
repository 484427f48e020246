"""The work of the step `evaluate`, from documents to a document."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skin_pipeline.contracts import (
    Dataset,
    Evaluation,
    Features,
    Figures,
    Split,
    TrainedRun,
    load,
)
from skin_pipeline.data import manifest
from skin_pipeline.data.images import decode
from skin_pipeline.data.splitting import TEST, VALIDATION
from skin_pipeline.evaluation import ensemble
from skin_pipeline.job import Job, scratch
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.plan import Source
from skin_pipeline.training.released import released_model
from skin_pipeline.training.runs import scorer
from skin_pipeline.training.strategies import STRATEGIES
from skin_pipeline.training.tasks import network_on, read_weights, source_of

log = logging.getLogger(__name__)


def evaluate(job: Job, key: str, split: str, keys: tuple[str, ...]) -> Evaluation:
    """Judge the ensemble and each run on the test set, and build the self-contained model."""
    runs = sorted((load(job.store, item, TrainedRun) for item in keys), key=lambda r: r.run)
    document = load(job.store, split, Split)
    dataset = load(job.store, document.dataset, Dataset)
    source = source_of(job, document, runs[0].features)
    trunk = load(job.store, runs[0].features[0], Features).trunk
    network = network_on(job, dataset, trunk)
    scores = ensemble.score(
        source.table,
        _logits(job, network, source, runs, list(dataset.golden)),
        [run.run for run in runs],
        job.settings.target_sensitivity,
        job.settings.seed,
    )
    with scratch() as folder:
        difference = _build(job, folder, network, runs, dataset, scores.by_key())
        job.store.put_file(f"{key}/model.keras", folder / "model.keras")
    _log(scores.ensemble, difference)
    return Evaluation(
        dataset=document.dataset,
        split=split,
        synthetic=dataset.synthetic,
        trunk=trunk,
        runs=keys,
        seeds={run.run: run.seed for run in runs},
        threshold=scores.ensemble.threshold,
        ensemble=scores.ensemble,
        per_run=scores.per_run,
        predictions=manifest.write(job.store, f"{key}/predictions.csv", scores.predictions),
        model=f"{key}/model.keras",
        smoke_difference=difference,
    )


def _logits(
    job: Job, network: Network, source: Source, runs: list[TrainedRun], golden: list[str]
) -> NDArray[np.float64]:
    """Logits (runs, n) of test and golden images, and of each run's own validation images.

    NaN where nobody needs them: a training image's score says nothing.
    """
    strategy = runs[0].strategy
    model = STRATEGIES[strategy].model(network, "run")
    score, inputs = scorer(model, jit=False), source.inputs(strategy, network)
    test = source.rows(runs[0].run, TEST)
    rows = np.union1d(test, np.flatnonzero(source.table["key"].isin(golden)))
    logits = np.full((len(runs), len(source.table)), np.nan)
    for run, line in zip(runs, logits, strict=True):
        model.set_weights(read_weights(job.store.local(run.weights)))
        line[rows] = score(inputs, rows)
        line[source.rows(run.run, VALIDATION)] = np.load(job.store.local(run.held_out))
    return logits


def _build(
    job: Job,
    folder: Path,
    network: Network,
    runs: list[TrainedRun],
    dataset: Dataset,
    expected: dict[str, float],
) -> float:
    """Write `model.keras`; the largest difference on golden images after loading it again."""
    weights = [read_weights(job.store.local(run.weights)) for run in runs]
    path = folder / "model.keras"
    released_model(network, runs[0].strategy, weights, dataset.field_of_view).save(path)
    model = network.keras.saving.load_model(path, safe_mode=True, compile=False)
    pixels = {key: decode(job.store.read(copy)).image for key, copy in dataset.golden.items()}
    return max(
        abs(float(model(np.asarray(image)[None])[0, 0]) - expected[key])
        for key, image in pixels.items()
    )


def _log(figures: Figures, difference: float) -> None:
    log.info(
        "evaluated images=%d accuracy=%.4f sensitivity=%.4f specificity=%.4f auc=%.4f "
        "threshold=%.4f smoke_difference=%.5f",
        figures.images,
        figures.accuracy.value,
        figures.sensitivity.value,
        figures.specificity.value,
        figures.auc.value,
        figures.threshold,
        difference,
    )
