"""Makes the results of the steps `evaluate`, `external` and `gate`.

The door (`skin_pipeline.steps`) decides whether a result is made; these functions make it.
"""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skin_pipeline.arrays import Arrays
from skin_pipeline.config import Settings
from skin_pipeline.contracts import (
    Dataset,
    Evaluation,
    FeatureIndex,
    LeftOut,
    Mistake,
    Scored,
    Split,
    TrainedRun,
    Trunk,
    Validation,
    Verdict,
)
from skin_pipeline.data import manifest
from skin_pipeline.evaluation import (
    answering,
    card,
    comparison,
    costs,
    familiarity,
    origins,
    report,
    saliency,
    scoring,
    slices,
)
from skin_pipeline.evaluation.ensemble import Judging, Scores, score
from skin_pipeline.evaluation.gate import Case, judge, reasons
from skin_pipeline.evaluation.logits import of_all, runs_of
from skin_pipeline.evaluation.metrics import Predictions
from skin_pipeline.job import Work
from skin_pipeline.model_file import building, loading, trial
from skin_pipeline.storage import scratch
from skin_pipeline.training import backbone, inputs, models, stages

log = logging.getLogger(__name__)

# A verdict names the versions of these, since its figures depend on them.
PACKAGES = ("tensorflow", "keras", "numpy", "pandas", "scikit-learn", "great-expectations")

FAMILIARITY = "familiarity.npz"  # the file of what is familiar to a model

# A function of the keys of a split and of runs.
LogitsFor = Callable[[str, tuple[str, ...]], Sequence[str]]

# --- evaluate -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """What an evaluation is made from: the runs, what they read, and their scores.

    Attributes:
        network: The network with its pretrained weights.
        trunk: Where these weights come from.
        dataset: The images.
        source: The images as the runs read them.
        runs: The runs, in the order of their numbers.
        weights: The weights of each run.
        scores: Figures and probabilities of the runs and their ensemble.
    """

    network: backbone.Network
    trunk: Trunk
    dataset: Dataset
    source: inputs.Source
    runs: list[TrainedRun]
    weights: list[Arrays]
    scores: Scores

    @property
    def strategy(self) -> str:
        """The strategy of the runs, which is the same for all."""
        return self.runs[0].strategy

    @property
    def channels(self) -> int:
        """How many pooled features the trunk of the released model gives; 0 if it has none."""
        shallow = {"head": self.network.channels, "fine_tune": self.network.shallow}
        return shallow.get(self.strategy, 0)

    @property
    def is_test(self) -> NDArray[np.bool_]:
        """Which of all images (n,) are test images."""
        return self.scores.predictions["test"].to_numpy(bool)

    @property
    def ensemble(self) -> Predictions:
        """The ensemble's predictions of all images (n,); NaN for images that were not scored."""
        probabilities = self.scores.predictions["probability"].to_numpy(np.float64)
        return Predictions(probabilities, self.scores.ensemble.threshold)


def evaluate(
    work: Work,
    split: str,
    runs: tuple[str, ...],
    shortcuts: tuple[str, ...],
    logits_for: LogitsFor,
) -> Evaluation:
    """Judges the ensemble and each run on the test set, and builds the self-contained model.

    Args:
        work: The making of the evaluation.
        split: Key of the split.
        runs: Keys of the runs.
        shortcuts: Names of the shortcuts that the images have.
        logits_for: Returns the keys of what the runs say of the images, which it makes if needed.
    """
    dataset, settings = work.load(split, Split).dataset, work.settings
    parts = tuple(logits_for(split, runs))
    work.job.expect("evaluate", work.load(dataset, Dataset).images)
    judged = _judge(work, split, runs, parts)
    scores, ensemble = judged.scores, judged.ensemble
    table, is_test = judged.source.table, judged.is_test
    difference = _save(work, judged)
    abstaining, familiar = _abstention(work, judged)
    _log(scores, difference)
    return Evaluation(
        dataset=dataset,
        split=split,
        synthetic=judged.dataset.synthetic,
        trunk=judged.trunk,
        strategy=judged.strategy,
        views=settings.scored_views,
        runs=runs,
        seeds={run.run: run.seed for run in judged.runs},
        threshold=scores.ensemble.threshold,
        ensemble=scores.ensemble,
        per_run=scores.per_run,
        calibration=scores.calibration,
        slices=slices.slices(table[is_test], ensemble.at(is_test), settings.seed),
        within=slices.within(table, is_test, ensemble.probabilities, shortcuts, settings.seed),
        mistakes=_mistakes(work, judged),
        predictions=work.put_table(
            "predictions.csv", scores.predictions.assign(familiarity=familiar)
        ),
        model=f"{work.key}/model.keras",
        smoke_difference=difference,
        logits=parts,
        left_out=_left_out(judged, settings),
        **abstaining,
    )


def _left_out(judged: Judged, settings: Settings) -> tuple[LeftOut, ...]:
    """Returns how well each source is told by what such runs learn from the others."""
    source, network = judged.source, judged.network
    runs = [stages.Run(lambda: network, source, settings, run.run, run.seed) for run in judged.runs]
    return origins.judged(runs, settings.scored_squares)


def _judge(work: Work, split: str, keys: tuple[str, ...], parts: tuple[str, ...]) -> Judged:
    """Judges the runs by their logits of images that they were not trained on."""
    document, runs = work.load(split, Split), runs_of(work, keys)
    dataset = work.load(document.dataset, Dataset)
    # All runs read the same features, and have the same test set.
    source = inputs.source_of(work, document, runs[0].features)
    trunk = work.load(str(runs[0].features), FeatureIndex).trunk
    network = models.network_on(work.job, dataset, trunk)
    weights = [models.weights_of(work.store, run) for run in runs]
    said = of_all(work, parts, len(source.table))
    scores = score(source.table, said, [run.run for run in runs], Judging.of(work.settings))
    return Judged(network, trunk, dataset, source, runs, weights, scores)


def _save(work: Work, judged: Judged) -> float:
    """Writes `model.keras` and tries it.

    The figures are those of the runs, but the released model is another program: it decodes and
    resizes images by itself, and contains all runs. So the file is opened again and scores golden
    images.

    Returns:
        The largest difference between its scores and those of the ensemble; NaN if one is.
    """
    model = building.released_model(
        judged.network,
        judged.strategy,
        judged.weights,
        judged.dataset.field_of_view,
        regions=judged.dataset.regions,
        views=work.settings.scored_views,
        temperature=judged.scores.calibration.temperature,
    )
    golden = {name: work.store.read(copy) for name, copy in judged.dataset.golden.items()}
    with scratch() as folder:
        model.save(folder / "model.keras")
        loaded = loading.load(folder / "model.keras", work.threads)
        work.put_file("model.keras", folder / "model.keras")
    expected, found = judged.scores.by_key(), trial.probabilities(loaded, golden.values())
    # The maximum of numpy is NaN if a difference is; that of Python may not be.
    return float(np.max([abs(p - expected[name]) for name, p in zip(golden, found, strict=True)]))


def _abstention(work: Work, judged: Judged) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Returns what an evaluation says of abstention, and the familiarity of each test image (n,);
    NaN for the other images."""
    settings, scores, rows = work.settings, judged.scores, np.flatnonzero(judged.is_test)
    held_out = scores.predictions["held_out_probability"].to_numpy(np.float64)
    known = familiarity.learned(judged.source, held_out, judged.channels)
    rule = familiarity.abstention(
        held_out[np.isfinite(held_out)],
        scores.ensemble.threshold,
        near=settings.abstain_near,
        unusual=settings.abstain_unusual if known else 0.0,
    )
    familiar, key = np.full(len(held_out), np.nan), ""
    if known:
        familiar[rows] = familiarity.of_rows(known, judged.source, rows)
        with scratch() as folder:
            familiarity.write(folder / FAMILIARITY, known)
            key = work.put_file(FAMILIARITY, folder / FAMILIARITY)
    labels = manifest.labels(judged.source.table.iloc[rows])
    points = answering.curve(judged.ensemble.at(rows), labels, familiar[rows], rule)
    return {"abstention": rule, "answered": points, "familiarity": key}, familiar


def _mistakes(work: Work, judged: Judged) -> tuple[Mistake, ...]:
    """Returns the most confident mistakes, each with the parts of the image that led to it."""
    threshold = judged.scores.ensemble.threshold
    rows = saliency.most_confident(judged.scores.predictions, threshold)
    if rows.empty:
        return ()
    numbers = rows.index.to_numpy(np.int64)
    squares = judged.source.squares(numbers)
    malignant = saliency.saliency(judged.network, judged.strategy, judged.weights, squares)
    # Saliency is positive where the image looks malignant. What led to a prediction of benign is
    # where it is negative.
    signs = np.where(rows["probability"] >= threshold, 1, -1)
    return tuple(
        _mistake(work, f"mistakes/{number}", row, square, sign * found)
        for number, (row, square, sign, found) in enumerate(
            zip(rows.itertuples(), squares, signs, malignant, strict=True)
        )
    )


def _mistake(
    work: Work, name: str, row: Any, square: NDArray[np.uint8], salient: NDArray[np.float32]
) -> Mistake:
    overlay = saliency.overlay(square, salient)
    return Mistake(
        key=row.key,
        label=row.label,
        probability=row.probability,
        square=work.put(f"{name}.jpg", saliency.jpeg(square)),
        saliency=work.put(f"{name}-saliency.jpg", saliency.jpeg(overlay)),
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


# --- external -------------------------------------------------------------------------------------


def external(
    work: Work,
    name: str,
    evaluation: str,
    validation: str,
    logits_for: scoring.LogitsFor,
    features_for: scoring.LogitsFor,
) -> Scored:
    """Scores a new model on a set of another origin, without those that its own data contain too.

    Args:
        work: The making of the scores.
        name: Name of the set.
        evaluation: Key of the model's evaluation.
        validation: Key of the validation of the model's data, which names the set.
        logits_for: Returns the keys of what the models of an evaluation say of the images of a
            set, which it makes if needed, given the keys of both.
        features_for: Returns the keys of the features of a set's shards in the same way.
    """
    checked = work.load(validation, Validation)
    dataset = checked.external[name]
    parts = tuple(logits_for(evaluation, dataset))
    table = scoring.external_table(work, dataset)
    work.job.expect("external", len(table), 0)  # the work itself is that of the parts
    shared = set(manifest.read(work.store, checked.overlaps[name])["key"])
    known = table["key"].isin(shared).to_numpy()
    about = scoring.Scoring(name, dataset, int(known.sum()))
    familiar = _familiar(work, evaluation, dataset, len(table), features_for)
    return scoring.scored(work, evaluation, about, table, ~known, parts, familiar)


def _familiar(
    work: Work, evaluation: str, dataset: str, count: int, features_for: scoring.LogitsFor
) -> NDArray[np.float64]:
    """Returns the familiarity of each readable image of a set (count,); NaN if it is not known."""
    model = work.load(evaluation, Evaluation)
    if not model.familiarity:
        return np.full(count, np.nan)
    known = familiarity.of_store(work.store, model.familiarity)
    images = work.load(dataset, Dataset)
    table = manifest.read_readable(work.store, images.table)
    source = inputs.Source(work.store, table, features_for(evaluation, dataset), images.shards)
    return familiarity.of_rows(known, source, np.arange(len(table)))


# --- gate -----------------------------------------------------------------------------------------


def gate(
    work: Work, evaluation: str, validation: str, champion: str, external: tuple[str, ...]
) -> Verdict:
    """Judges an evaluation, and writes the report and the model card; see `contracts.Verdict`.

    Args:
        work: The making of the verdict.
        evaluation: Key of the evaluation.
        validation: Key of the validation of its data.
        champion: Key of the champion's scores on the same test set; "" if there is no champion.
        external: Keys of the scores on sets of another origin.
    """
    case = _case(work, evaluation, champion, external)
    taken = costs.taken(work, evaluation, validation, champion, external)
    checks = judge(case, work.settings)
    verdict = Verdict(
        evaluation=evaluation,
        validation=validation,
        champion=champion,
        external=external,
        released_as=work.settings.released_as,
        approved=all(check.passed for check in checks),
        checks=checks,
        reasons=reasons(checks),
        comparison=case.comparison,
        settings=work.settings.model_dump(),
        versions={"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
        seconds=costs.seconds(taken),
        judged_at=work.job.moment,
        report=f"{work.key}/report.html",
        card=f"{work.key}/card.md",
        card_data=f"{work.key}/card.json",
        costs=costs.of_run(work.job, taken),
    )
    _put_pages(work, verdict, case.evaluation)
    return verdict


def _case(work: Work, evaluation: str, champion: str, external: tuple[str, ...]) -> Case:
    result = work.load(evaluation, Evaluation)
    theirs = work.load(champion, Scored) if champion else None
    return Case(
        key=evaluation,
        evaluation=result,
        champion=theirs,
        comparison=comparison.with_champion(work.store, work.settings, evaluation, result, theirs),
        external=[work.load(key, Scored) for key in external],
    )


def _put_pages(work: Work, verdict: Verdict, evaluation: Evaluation) -> None:
    """Writes the model card and the report, under the names that the verdict has for them."""
    content = card.data(work.store, verdict, evaluation)
    work.put("card.md", card.markdown(content).encode())
    work.put("card.json", (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
    work.put("report.html", report.render(work.store, verdict, evaluation).encode())
