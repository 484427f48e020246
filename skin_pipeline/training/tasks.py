"""Makes the results of the steps `features`, `index` and `train`.

The door (`skin_pipeline.steps`) decides whether a result is made; these functions make it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from skin_pipeline import arrays, metering
from skin_pipeline.contracts import Dataset, FeatureIndex, Features, Split, TrainedRun, Trunk, Views
from skin_pipeline.data import splitting
from skin_pipeline.job import Job, Work
from skin_pipeline.provenance import owner_of
from skin_pipeline.seeds import run_seed
from skin_pipeline.storage import scratch
from skin_pipeline.training import cache, graphs, models, resources
from skin_pipeline.training.cache import FeatureCache, Ids
from skin_pipeline.training.checkpoints import Checkpoints
from skin_pipeline.training.features import compute
from skin_pipeline.training.inputs import joined, source_of
from skin_pipeline.training.plan import stages_of
from skin_pipeline.training.runs import Trained, train_run
from skin_pipeline.training.stages import Run, Stage
from skin_pipeline.training.views import View, views_of

log = logging.getLogger(__name__)


# --- features -------------------------------------------------------------------------------------


def features(
    work: Work,
    dataset: Dataset,
    shard: int,
    trunk: Trunk,
    kinds: Sequence[str],
    views: Views,
) -> Features:
    """Returns where the activations of one shard are, after computing those not in the cache yet.

    Args:
        work: The making of the features.
        dataset: The data set.
        shard: Number of the shard.
        trunk: The network and its weights.
        kinds: `pooled`, `maps`, or both.
        views: What the network is shown of each image.
    """
    seen = views_of(views)
    work.job.expect("features", dataset.packed(work.settings.shard_size)[shard], len(seen))
    pixels = arrays.loaded(work.store, dataset.shards[shard])
    ids = cache.ids_of(pixels)
    known = FeatureCache(work.store, trunk, dataset.image_size, ids)
    missing = sum(len(known.missing(kind, view.name, ids)) for kind in kinds for view in seen)
    log.info(
        "feature_cache images=%d activations=%d missing=%d",
        len(ids),
        len(ids) * len(seen) * len(kinds),
        missing,
    )
    computed = missing // len(kinds)
    metering.note(found=len(ids) * len(seen) - computed, computed=computed, units=computed)
    if missing:
        runner = graphs.runner_of(work, dataset, trunk, kinds)
        _check_room(work.job, runner, len(seen) * dataset.images)
        forward = runner.forward()
        with scratch() as folder:
            compute(forward, pixels, ids, known, kinds=kinds, views=seen, folder=folder)
    blocks, places = {}, {}
    for kind in kinds:
        blocks[kind], places[kind] = _indexed(work, known, ids, kind, seen)
    return Features(
        shard=dataset.shards[shard], trunk=trunk, views=views, blocks=blocks, places=places
    )


def _check_room(job: Job, runner: graphs.Runner, squares: int) -> None:
    """Logs how much disk and memory computing features takes; raises an error if it is too much.

    The disk is checked for all shards, so that already the first task stops, not the last one.
    """
    cache.check_disk(job.store, squares * runner.activation_bytes, job.deployment.features_gib)
    job.note_memory(runner.memory)
    resources.check_memory(job.deployment, runner.memory, "computing features", "Lower image_size")


def _indexed(
    work: Work, known: FeatureCache, ids: Ids, kind: str, views: Sequence[View]
) -> tuple[tuple[str, ...], str]:
    """Writes where the activations of each view and image are in the cache.

    Returns:
        The keys of the cached blocks, and the key of an array (views, n, 2): see `Features.places`.
    """
    found = [known.find(kind, view.name, ids) for view in views]
    blocks, index = cache.index_of(found)
    with scratch() as folder:
        np.save(folder / "places.npy", index)
        return blocks, work.put_file(f"{kind}.npy", folder / "places.npy")


def index(work: Work, features: tuple[str, ...]) -> FeatureIndex:
    """Returns where the activations of all images are, given the features of all shards.

    So a run reads one result, however many shards there are.
    """
    shards = [work.load(key, Features) for key in features]
    blocks, places = {}, {}
    for kind in shards[0].blocks:
        blocks[kind], found = joined(work.store, shards, kind)
        with scratch() as folder:
            np.save(folder / "places.npy", found)
            places[kind] = work.put_file(f"{kind}.npy", folder / "places.npy")
    return FeatureIndex(
        features=features,
        trunk=shards[0].trunk,
        views=shards[0].views,
        blocks=blocks,
        places=places,
    )


# --- train ----------------------------------------------------------------------------------------


def train(work: Work, split: str, features: str, run: int) -> TrainedRun:
    """Trains one run, from its last completed epoch if there is one.

    Args:
        work: The making of the run.
        split: Key of the split.
        features: Key of the index of all features.
        run: Number of the run.

    Raises:
        BadInput: The run diverged or learned nothing, or the machine is too small.
        Unavailable: The memory is not free now.
    """
    context = _context(work, split, features, run)
    stages = stages_of(context)
    _log_begin(context, stages)
    _check_memory(work.job, context, stages)
    # The states are kept below the result's own key, where a later try looks for them. `work.key`
    # may be another folder, if another process makes the same result at the same time.
    kept = Checkpoints(work.store, owner_of(f"{work.key}/"))
    trained = train_run(context, stages, kept)
    _log_end(context, trained)
    return _kept(work, context, trained, split, features)


def _context(work: Work, split: str, features: str, number: int) -> Run:
    """Returns a run with everything that it is trained with."""
    settings, document = work.settings, work.load(split, Split)
    dataset = work.load(document.dataset, Dataset)
    _expect_training(work.job, dataset.images)
    trunk = work.load(features, FeatureIndex).trunk
    return Run(
        load=partial(models.network_on, work.job, dataset, trunk),
        source=source_of(work, document, features),
        settings=settings,
        number=number,
        seed=run_seed(settings.seed, number),
    )


def _expect_training(job: Job, images: int) -> None:
    settings = job.settings
    if settings.strategy == "head":
        job.expect("train", images, settings.epochs)
    else:
        job.expect(settings.strategy, images, settings.tune_epochs + settings.epochs)
        # An epoch of the head, which comes first, is nothing beside one of the other stage.
        metering.note(units=images * settings.tune_epochs)


def _check_memory(job: Job, run: Run, stages: Sequence[Stage]) -> None:
    """Raises an error if the run needs more memory than there is; the last stage needs most."""
    stage = stages[-1]
    row_bytes = run.source.row_bytes(run.settings.strategy)
    head = run.settings.strategy == "head"
    if head:
        needed = resources.bytes_to_train_head(stage.batch_size, row_bytes)
    else:
        needed = resources.bytes_to_train(stage.build(), stage.batch_size, row_bytes)
    job.note_memory(needed)
    resources.check_memory(
        job.deployment,
        needed,
        f"training run {run.number}",
        "Lower batch_size" if head else "Choose strategy=head, or lower tune_batch_size",
    )


def _kept(work: Work, run: Run, trained: Trained, split: str, features: str) -> TrainedRun:
    """Writes the files of a finished run, and returns its document."""
    table = pd.DataFrame([line.model_dump() for line in trained.history])
    with scratch() as folder:
        models.write_weights(folder / "weights.npz", trained.weights)
        np.save(folder / "held_out.npy", trained.held_out)
        weights = work.put_file("weights.npz", folder / "weights.npz")
        held_out = work.put_file("held_out.npy", folder / "held_out.npy")
    return TrainedRun(
        run=run.number,
        seed=run.seed,
        split=split,
        features=features,
        strategy=run.settings.strategy,
        weights=weights,
        held_out=held_out,
        table=work.put_table("history.csv", table),
        best=trained.best,
        history=trained.history,
    )


def _log_begin(run: Run, stages: Sequence[Stage]) -> None:
    log.info(
        "run run=%d seed=%d strategy=%s backbone=%s train=%d validation=%d views=%d",
        run.number,
        run.seed,
        run.settings.strategy,
        run.settings.backbone,
        len(run.rows(splitting.TRAIN)),
        len(stages[0].validation.rows),
        run.settings.learned_views,
    )


def _log_end(run: Run, trained: Trained) -> None:
    log.info(
        "trained run=%d seed=%d best_stage=%s best_epoch=%d val_auc=%.4f epochs=%d seconds=%.0f",
        run.number,
        run.seed,
        trained.best.stage,
        trained.best.epoch,
        trained.best.validation_auc,
        len(trained.history),
        sum(line.seconds for line in trained.history),
    )
