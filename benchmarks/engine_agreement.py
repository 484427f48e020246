"""How far a promoted model's figures and calls depend on the engine that computed its network.

Two workflows learn from the same images: one by TensorFlow in single precision, one by the engine
that `auto` takes here. Their AUC on the test images is compared. Then the released file of the
second scores the same test images by TensorFlow and by OpenVINO, as `predict` does.
"""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from measuring import folder_of, parser, report
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from workflow import Workflow

from skin_pipeline import tables
from skin_pipeline.contracts import LABELS, Evaluation, Release
from skin_pipeline.release import predict
from skin_pipeline.storage import digest_file

Labels = NDArray[np.bool_]


class Scores(NamedTuple):
    """Probabilities (n,), and from which one on an image is called malignant."""

    probabilities: NDArray[np.float64]
    threshold: float

    @property
    def calls(self) -> Labels:
        """Which images are called malignant (n,)."""
        return self.probabilities >= self.threshold


class Judged(NamedTuple):
    """An evaluation, and its test images with their probabilities, by their keys."""

    workflow: Workflow
    evaluation: Evaluation
    test: pd.DataFrame

    @classmethod
    def by(cls, engine: str, folder: Path, data: Path, weights: Path | None) -> Judged:
        """Does a workflow up to the evaluation, its network computed by an engine."""
        work = Workflow.on(folder, data, weights, engine=engine)
        evaluation = work.judge(work.train())
        found = tables.read_scores(work.job.store, evaluation.predictions)
        return cls(work, evaluation, found[found["test"]].set_index("key").sort_index())

    @property
    def scores(self) -> Scores:
        """What the ensemble says of the test images."""
        return Scores(self.test["probability"].to_numpy(np.float64), self.evaluation.threshold)


def model_of(judged: Judged) -> predict.Resolved:
    """Returns the model file of an evaluation as if it were promoted."""
    path = judged.workflow.job.store.local(judged.evaluation.model)
    release = Release(
        model="benchmark",
        version="0",
        verdict="gate/benchmark",
        synthetic=judged.evaluation.synthetic,
        content_digest="0",
        labels=LABELS,
        threshold=judged.evaluation.threshold,
        files={"model.keras": digest_file(path)},
    )
    return predict.Resolved(release, path)


def predicted(model: predict.Resolved, paths: list[Path], engine: str) -> Scores:
    """Returns what the file says of images by an engine."""
    scorer = predict.Scorer.of(model, os.cpu_count() or 1, engine)
    rows = [row.probability for row in scorer.predict(paths)]
    return Scores(np.array(rows, np.float64), model.threshold)


def agreement(labels: Labels, one: Scores, other: Scores) -> dict[str, float]:
    """Returns how much the AUC differs, how many calls are the same, and the largest difference."""
    auc, theirs = (float(roc_auc_score(labels, each.probabilities)) for each in (one, other))
    apart = np.abs(one.probabilities - other.probabilities)
    return {
        "auc": auc,
        "auc_difference": theirs - auc,
        "same_calls": float((one.calls == other.calls).mean()),
        "largest_difference": float(apart.max()),
    }


def main() -> None:
    """Compares both, and reports the figures."""
    given = parser(str(__doc__)).parse_args()
    logging.disable(logging.INFO)
    with folder_of(given.data) as (data, name), tempfile.TemporaryDirectory() as scratch:
        usual, quick = (
            Judged.by(engine, Path(scratch, engine), data, given.weights)
            for engine in ("tensorflow", "auto")
        )
        assert list(usual.test.index) == list(quick.test.index)
        labels = (quick.test["label"] == "malignant").to_numpy(bool)
        model, paths = model_of(quick), [data / key for key in quick.test.index]
        by = [predicted(model, paths, engine) for engine in ("tensorflow", "openvino")]
    found = {
        "learned": agreement(labels, usual.scores, quick.scores),
        "scored": agreement(labels, *by),
    }
    report(
        [
            (f"{what}: {figure}", f"{value:.5f}")
            for what, figures in found.items()
            for figure, value in figures.items()
        ],
        name="engine_agreement",
        value=round(found["scored"]["same_calls"], 4),
        unit="share",
        against="TensorFlow in single precision",
        engine=str(quick.evaluation.trunk.engine),
        precision=str(quick.evaluation.trunk.precision),
        images=len(labels),
        figures=found,
        data=name,
    )


if __name__ == "__main__":
    main()
