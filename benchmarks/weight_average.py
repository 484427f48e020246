"""What one last stage of averaged weights gives, against the ensemble of the runs it was made of.

All runs of `fine_tune` begin from the same last stage, so that their weights can be averaged (model
soups, Wortsman et al. 2022); so are those of their heads. Both models score the test images and the
images of another set in one view. Then their files are compared in size and speed.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from external import OUTSIDE, Images, compared, elsewhere_of, outside_parser
from head_cost import scored_a_second
from measuring import folder_of, report
from workflow import Workflow

from skin_pipeline.arrays import Arrays
from skin_pipeline.contracts import (
    Dataset,
    FeatureIndex,
    Interval,
    Split,
    TrainedRun,
    Validation,
    load,
)
from skin_pipeline.data import manifest
from skin_pipeline.intervals import Floats
from skin_pipeline.model_file import building
from skin_pipeline.training import inputs, models, strategies

STRATEGY, BATCH = "fine_tune", 64


class Scored(NamedTuple):
    """The logits (models, n) of a set: of each run, and last of the averaged weights."""

    images: Images
    logits: Floats

    def of(self) -> dict[str, Interval]:
        """Returns the AUC of the average, and by how much it is above that of the ensemble."""
        ensemble = self.logits[:-1].mean(axis=0)
        return compared(("auc", "gain"), self.images, self.logits[-1], ensemble)


class Bench:
    """The trained runs of a workflow, and the model of their averaged weights.

    Args:
        work: A workflow whose runs are trained.
        runs: Keys of the runs.
    """

    def __init__(self, work: Workflow, runs: Sequence[str]) -> None:
        self._job = work.job
        self.trained = [load(work.job.store, key, TrainedRun) for key in runs]
        self.split = load(work.job.store, work.split, Split)
        trunk = load(work.job.store, str(self.trained[0].features), FeatureIndex).trunk
        dataset = load(work.job.store, self.split.dataset, Dataset)
        self.network = models.network_on(work.job, dataset, trunk)
        self.weights = [models.weights_of(work.job.store, run) for run in self.trained]
        self.averaged: Arrays = [np.mean(same, axis=0) for same in zip(*self.weights, strict=True)]

    def scored(self, dataset: str, images: Images) -> Scored:
        """Returns what all models say of images of a data set."""
        document = load(self._job.store, dataset, Dataset)
        known = manifest.read_readable(self._job.store, document.table)
        rows = pd.Index(known["key"]).get_indexer(images.table["key"])
        squares = inputs.Squares(self._job.store, document.shards)
        strategy = strategies.STRATEGIES[STRATEGY]
        stem = strategy.stem(self.network)
        made = [strategy.model(self.network, f"model_{n}") for n in range(len(self.weights) + 1)]
        for model, weights in zip(made, [*self.weights, self.averaged], strict=True):
            model.set_weights(weights)
        said = []
        for start in range(0, len(rows), BATCH):
            ends = stem(squares.pixels(rows[start : start + BATCH]).astype(np.float32))
            said.append([np.asarray(model(ends))[:, 0] for model in made])
        return Scored(images, np.concatenate([np.asarray(one, np.float64) for one in said], axis=1))

    def file_of(self, runs: Sequence[Arrays], path: Path) -> dict[str, float]:
        """Returns the size and the speed of a released model."""
        building.released_model(self.network, STRATEGY, runs, 0.8).save(path)
        size = path.stat().st_size / 2**20
        return {"mib": size, "images_per_second": scored_a_second(path, self._job.threads)}


def measured(work: Workflow, data: Path, folder: Path) -> tuple[dict[str, Interval], list[float]]:
    """Returns the figures on both sets, and size and speed of both files."""
    bench = Bench(work, work.train())
    table = manifest.read_readable(work.job.store, bench.split.table)
    tested = table[table["run_0"] == "test"].reset_index(drop=True)
    checked = load(work.job.store, work.validation, Validation)
    theirs = elsewhere_of(work.job, checked)
    found: dict[str, Interval] = {}
    for name, dataset, rows in (
        ("test", bench.split.dataset, tested),
        ("external", checked.external[OUTSIDE], theirs),
    ):
        seen = bench.scored(dataset, Images(data, rows))
        found |= {f"{name}_{figure}": value for figure, value in seen.of().items()}
    ours = bench.file_of([bench.averaged], folder / "one.keras")
    all_runs = bench.file_of(bench.weights, folder / "all.keras")
    return found, [ours[figure] / all_runs[figure] for figure in ("mib", "images_per_second")]


def arguments_of() -> argparse.Namespace:
    """Returns the flags of this call."""
    flags = outside_parser(str(__doc__))
    flags.add_argument("--views", type=int, default=2, choices=[1, 2, 4, 8])
    return flags.parse_args()


def main() -> None:
    """Measures both and reports the difference of their AUC outside."""
    given = arguments_of()
    logging.disable(logging.INFO)
    with folder_of(given.data) as (data, name), tempfile.TemporaryDirectory() as scratch:
        work = Workflow.on(
            given.store or Path(scratch),
            data,
            given.weights,
            strategy=STRATEGY,
            views=given.views,
            external=f"{OUTSIDE}={given.external}",
        )
        found, (size, speed) = measured(work, data, Path(scratch))
    report(
        [(figure, str(value)) for figure, value in found.items()],
        name="weight_average",
        value=round(found["external_gain"].value, 4),
        unit="AUC of averaged weights on the other set, above that of the ensemble",
        against="the ensemble of the same runs",
        data=name,
        file_size=round(size, 3),
        speed=round(speed, 3),
        **{figure: round(one.value, 4) for figure, one in found.items()},
    )


if __name__ == "__main__":
    main()
