"""What trained runs say of images: made for some shards at a time, and put together again.

    part = logits.of_shards(work, split, runs, shards, features, views)     # contracts.Logits
    part = logits.of_external(work, dataset, runs, shards, features, views) # of an external set
    logits.of_all(work, keys, images=len(table))                            # (runs, n)

Scoring images by all runs is nearly all of the work of `evaluate`, `champion` and `external`. So it
is done in parts, which several workers can share.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skin_pipeline import arrays
from skin_pipeline.contracts import Dataset, Features, Logits, Split, TrainedRun
from skin_pipeline.data import manifest, splitting
from skin_pipeline.job import Work
from skin_pipeline.storage import scratch
from skin_pipeline.training import inputs, models


def of_shards(
    work: Work,
    split: str,
    runs: tuple[str, ...],
    shards: Sequence[int],
    features: Sequence[str],
    views: int,
) -> Logits:
    """Scores the images of consecutive shards by runs.

    A run of this split scores the test images, the golden images and its own validation images. Its
    score of an image that it was trained on says nothing of new images. A run of another split,
    such as a champion's, scores the test images only.

    Args:
        work: The making of the logits.
        split: Key of the split.
        runs: Keys of the runs, all of one strategy.
        shards: Numbers of the shards.
        features: Keys of the features of these shards.
        views: How many squares are averaged, from the first: four, for two views of two squares.
    """
    document, own = work.load(split, Split), runs_of(work, runs)
    dataset = work.load(document.dataset, Dataset)
    table = manifest.read_readable(work.store, document.table)
    source, first = _source(work, table, dataset, shards, features)
    kind = "logits" if own[0].split == split else "champion"
    work.job.expect(kind, len(source.table), len(runs) * views)
    wanted = [_rows(source.table, run, split, dataset) for run in own]
    values = _values(work, dataset, source, own, wanted, views)
    return Logits(
        split=split, runs=runs, views=views, first=first, images=len(source.table), values=values
    )


def of_external(
    work: Work,
    dataset: str,
    runs: tuple[str, ...],
    shards: Sequence[int],
    features: Sequence[str],
    views: int,
) -> Logits:
    """Scores all images of consecutive shards of an external set by runs.

    Also those that the model's own data contain: which these are depends on that data, and the
    part does not.

    Args:
        work: The making of the logits.
        dataset: Key of the external set.
        runs: Keys of the runs, all of one strategy.
        shards: Numbers of the shards.
        features: Keys of the features of these shards.
        views: How many squares are averaged, from the first: four, for two views of two squares.
    """
    document, own = work.load(dataset, Dataset), runs_of(work, runs)
    # Who the images are of says nothing here, so that the rest of the table is not read.
    table = manifest.read_readable(work.store, document.table, ["shard"])
    source, first = _source(work, table, document, shards, features)
    images = len(source.table)
    work.job.expect("external", images, len(runs) * views)
    values = _values(work, document, source, own, [np.arange(images)] * len(own), views)
    return Logits(
        **{"split": "", "dataset": dataset, "runs": runs, "views": views},
        **{"first": first, "images": images, "values": values},
    )


def _values(
    work: Work,
    dataset: Dataset,
    source: inputs.Source,
    runs: Sequence[TrainedRun],
    wanted: Sequence[inputs.Ints],
    views: int,
) -> str:
    """Writes what runs say of the rows that each scores; returns the key of the `.npy`."""
    trunk = work.load(source.features[0], Features).trunk
    network = partial(models.network_on, work.job, dataset, trunk)
    weights = (models.weights_of(work.store, run) for run in runs)
    values = models.logits_of(network, source, runs, weights, wanted, views)
    with scratch() as folder:
        np.save(folder / "logits.npy", values)
        return work.put_file("logits.npy", folder / "logits.npy")


def runs_of(work: Work, keys: Sequence[str]) -> list[TrainedRun]:
    """Returns the runs with these keys, in the order of their numbers."""
    return sorted((work.load(key, TrainedRun) for key in keys), key=lambda run: run.run)


def _source(
    work: Work,
    table: pd.DataFrame,
    dataset: Dataset,
    shards: Sequence[int],
    features: Sequence[str],
) -> tuple[inputs.Source, int]:
    """Returns the images of some shards, and the row of the first of them in the table of all."""
    here = np.flatnonzero(table["shard"].between(shards[0], shards[-1]))
    rows = table.iloc[here].reset_index(drop=True)
    packed = tuple(dataset.shards[shard] for shard in shards)
    return inputs.Source(work.store, rows, features, packed), int(here[0])


def _rows(table: pd.DataFrame, run: TrainedRun, split: str, dataset: Dataset) -> inputs.Ints:
    """Returns the rows that a run scores."""
    wanted = table["run_0"] == splitting.TEST  # all runs of a split have the same test set
    if run.split == split:
        # The saved model is tried on golden images, some of which may be training images.
        wanted |= table["key"].isin(list(dataset.golden))
        wanted |= table[f"run_{run.run}"] == splitting.VALIDATION
    return np.flatnonzero(wanted)


def of_all(work: Work, keys: Sequence[str], images: int) -> NDArray[np.float64]:
    """Returns the logits (runs, n) of all images of a set, given the keys of all their parts.

    Runs are in the order of their numbers. An image that a run has not scored has NaN.

    Args:
        work: The making of the result that needs them.
        keys: Keys of the parts, in the order of the images.
        images: The number of readable images (n).
    """
    parts = [work.load(key, Logits) for key in keys]
    assert sum(part.images for part in parts) == images
    return np.concatenate([arrays.loaded(work.store, part.values) for part in parts], axis=1)
