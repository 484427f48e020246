"""The work of the steps `features` and `train`.

The door (`skin_pipeline.steps`) decides whether a result is made; these functions make it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skin_pipeline import arrays
from skin_pipeline.contracts import Dataset, Features, Split, TrainedRun, Trunk
from skin_pipeline.data import manifest
from skin_pipeline.job import Job, Work
from skin_pipeline.provenance import owner_of
from skin_pipeline.seeds import run_seed
from skin_pipeline.storage import Store, scratch
from skin_pipeline.training import backbone, cache, resources, runs
from skin_pipeline.training import features as room
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.checkpoints import Arrays, Checkpoints
from skin_pipeline.training.plan import Source, stages_of

log = logging.getLogger(__name__)


def features(
    work: Work,
    dataset: Dataset,
    shard: int,
    trunk: Trunk,
    kinds: Sequence[str],
    views: int,
) -> Features:
    """Computes the activations of one shard's images that the cache does not have."""
    job, store = work.job, work.store
    most = min(work.settings.shard_size, sum(dataset.classes.values()))
    job.expect("features", most, views)
    pixels = arrays.loaded(store, dataset.shards[shard])
    ids = cache.ids_of(pixels)
    known = cache.FeatureCache(store, trunk, dataset.image_size, ids)
    missing = sum(len(known.missing(kind, v, ids)) for kind in kinds for v in range(views))
    log.info(
        "feature_cache images=%d activations=%d missing=%d",
        len(ids),
        len(ids) * views * len(kinds),
        missing,
    )
    if missing:
        network = network_on(job, dataset, trunk)
        _check(job, network, kinds, views, sum(dataset.classes.values()))
        forward = _forward(network, tuple(kinds))
        with scratch() as folder:
            room.compute(forward, pixels, ids, known, kinds=kinds, views=views, folder=folder)
    blocks, places = {}, {}
    with scratch() as folder:
        for kind in kinds:
            found = [known.find(kind, view, ids) for view in range(views)]
            blocks[kind], index = cache.index_of(found)
            np.save(folder / "places.npy", index)
            places[kind] = work.put_file(f"{kind}.npy", folder / "places.npy")
    return Features(
        shard=dataset.shards[shard], trunk=trunk, views=views, blocks=blocks, places=places
    )


# One task works on several shards of a large data set, and compiling takes seconds.
@lru_cache(maxsize=1)
def _forward(network: Network, kinds: tuple[str, ...]) -> room.Forward:
    return room.forward_of(network, kinds)


def _check(job: Job, network: Network, kinds: Sequence[str], views: int, images: int) -> None:
    """Tell what computing features takes, and stop if it is not to be had."""
    activations = room.bytes_of(network, kinds, views, images)
    cache.check_disk(job.store, activations, job.deployment.features_gib)
    memory = resources.bytes_to_run(network.whole, room.BATCH)
    resources.check_memory(job.deployment, memory, "computing features", "Lower image_size")


def network_on(job: Job, dataset: Dataset, trunk: Trunk) -> Network:
    """The network, in a TensorFlow that is held to this task's threads."""
    keras = backbone.keras_on(job.threads)
    resources.announce(job.deployment, len(backbone.gpus()))
    # Every store can be hashed, which a protocol cannot say.
    return _loaded(keras, trunk, dataset.image_size, job.store)  # type: ignore[arg-type]


# The command line trains one run after the other in one process; building the network anew for each
# would take as long as training a head.
@lru_cache(maxsize=1)
def _loaded(keras: Any, trunk: Trunk, image_size: int, store: Store) -> Network:
    return Network.load(keras, trunk, image_size, store)


def source_of(work: Work, split: Split, features: tuple[str, ...]) -> Source:
    """Returns what runs read."""
    table = manifest.read_readable(work.store, split.table)
    return Source(work.store, table, features, work.load(split.dataset, Dataset).shards)


def train(work: Work, split: str, features: tuple[str, ...], run: int) -> TrainedRun:
    """Trains one run, from its last completed epoch if there is one."""
    job, settings, seed = work.job, work.settings, run_seed(work.settings.seed, run)
    document = work.load(split, Split)
    dataset = work.load(document.dataset, Dataset)
    _expect_training(job, sum(dataset.classes.values()))
    source = source_of(work, document, features)
    network = network_on(job, dataset, work.load(features[0], Features).trunk)
    stages = stages_of(network, source, settings, run, seed)
    log.info(
        "run run=%d seed=%d strategy=%s backbone=%s train=%d validation=%d views=%d",
        run,
        seed,
        settings.strategy,
        settings.backbone,
        len(source.rows(run, "train")),
        len(stages[0].validation.rows),
        settings.views,
    )
    model = stages[-1].build()
    needed = resources.bytes_to_train(
        model, stages[-1].batch_size, source.row_bytes(settings.strategy)
    )
    del model
    resources.check_memory(
        job.deployment,
        needed,
        f"training run {run}",
        "Choose strategy=head, or lower tune_batch_size",
    )
    # Below the key of the step, where the next try looks too: a result's files may go elsewhere.
    kept = Checkpoints(work.store, owner_of(f"{work.key}/"))
    trained = runs.train_run(network.keras, stages, run, seed, kept)
    return _kept(
        work,
        trained,
        run=run,
        seed=seed,
        split=split,
        features=features,
        strategy=settings.strategy,
    )


def _expect_training(job: Job, images: int) -> None:
    settings = job.settings
    if settings.strategy == "head":
        job.expect("train", images, settings.epochs)
    else:
        job.expect(settings.strategy, images, settings.tune_epochs + settings.epochs)


def _kept(work: Work, trained: runs.Trained, **about: Any) -> TrainedRun:
    """Writes the files of a finished run, and returns its document."""
    best, history = trained.best, trained.history
    table = pd.DataFrame([line.model_dump() for line in history])
    with scratch() as folder:
        write_weights(folder / "weights.npz", trained.weights)
        np.save(folder / "held_out.npy", trained.held_out)
        weights = work.put_file("weights.npz", folder / "weights.npz")
        held_out = work.put_file("held_out.npy", folder / "held_out.npy")
    log.info(
        "trained run=%d seed=%d best_stage=%s best_epoch=%d val_auc=%.4f epochs=%d seconds=%.0f",
        about["run"],
        about["seed"],
        best.stage,
        best.epoch,
        best.validation_auc,
        len(history),
        sum(line.seconds for line in history),
    )
    return TrainedRun(
        **about,
        weights=weights,
        held_out=held_out,
        table=work.put_table("history.csv", table),
        best=best,
        history=history,
    )


def write_weights(path: Path, weights: Arrays) -> None:
    """Write a model's weights, in their order."""
    np.savez(path, **{f"w{number:04}": array for number, array in enumerate(weights)})  # type: ignore[arg-type]


def read_weights(source: Path | BinaryIO) -> Arrays:
    """A model's weights, in their order.

    Raises:
        ValueError: The file was not written by `write_weights`.
    """
    return _in_order(arrays.several(source))


def weights_of(store: Store, run: TrainedRun) -> Arrays:
    """The weights of a run, in their order.

    Raises:
        BadInput: They are not there, or not as the run wrote them.
    """
    return _in_order(arrays.several_of(store, run.weights))


def _in_order(named: dict[str, NDArray[Any]]) -> Arrays:
    return [named[name] for name in sorted(named)]
