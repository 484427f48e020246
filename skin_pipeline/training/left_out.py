"""Trains a head without one source of the images, and scores the images of that source.

    rows, logits = scored(run, "clinic", views=4)

Only a head is trained, on the features that the runs read: it takes seconds, and says what the
features of one archive are worth in another.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skin_pipeline.data import manifest, splitting
from skin_pipeline.storage import FolderStore, scratch
from skin_pipeline.training.checkpoints import Checkpoints
from skin_pipeline.training.heads import Head
from skin_pipeline.training.inputs import Ints
from skin_pipeline.training.plan import stages_of
from skin_pipeline.training.runs import train_run
from skin_pipeline.training.stages import Run


def scored(run: Run, source: str, views: int) -> tuple[Ints, NDArray[np.float32]]:
    """Returns what a head says of a source's images that it has never seen.

    It learns from what the run trains on, without the images of the source and of patients of whom
    the source has images. Images of the test set are neither learned from nor scored.

    Args:
        run: The run that the head stands in for.
        source: Name of the source that is left out.
        views: Dihedral views over which a logit is averaged.

    Returns:
        The rows of the images (n,), and their logits (n,).

    Raises:
        BadInput: What is left has no image of a class on one side, or nothing was learned.
    """
    table = run.source.table
    here = table[manifest.SOURCE] == source
    rows = np.flatnonzero(here & (table[f"run_{run.number}"] != splitting.TEST))
    head = Head.of(_trained(_without(run, table["group"].isin(table.loc[here, "group"]))))
    return rows, head.score(run.source.pooled(), rows, views)


def _without(run: Run, left_out: pd.Series[bool]) -> Run:
    side = f"run_{run.number}"
    sides = run.source.table[side].where(~left_out, splitting.UNUSED)
    splitting.need_both_classes_in(run.source.table, sides)
    return replace(
        run,
        source=replace(run.source, table=run.source.table.assign(**{side: sides})),
        settings=run.settings.model_copy(update={"strategy": "head"}),
    )


def _trained(run: Run) -> list[NDArray[np.float32]]:
    with scratch() as folder:  # a head is not worth going on with after an interruption
        return train_run(run, stages_of(run), Checkpoints(FolderStore(folder), "head")).weights
