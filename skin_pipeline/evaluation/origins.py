"""Judges on each source of the images what was learned from the others alone.

Leave-one-source-out: within one archive a model can learn the archive. What it does on a source
that it has not seen says more of how it will do in a clinic whose images nobody has.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skin_pipeline.contracts import Interval, LeftOut
from skin_pipeline.data import manifest, splitting
from skin_pipeline.errors import BadInput
from skin_pipeline.intervals import auc_interval
from skin_pipeline.training import left_out, stages

log = logging.getLogger(__name__)

RUNS = 3  # heads whose logits are averaged; each takes as long as the head of a run
UNKNOWN = Interval(value=np.nan, low=np.nan, high=np.nan)


def judged(runs: Sequence[stages.Run], views: int) -> tuple[LeftOut, ...]:
    """Returns how well heads do on each source when they have learned from the others only.

    Test images take no part, so that anything may be chosen by these figures.

    Args:
        runs: The runs that the heads stand in for.
        views: Dihedral views over which a logit is averaged.

    Returns:
        The figures of each source, in the order of their names; none if there is only one.
    """
    table = runs[0].source.table
    if manifest.SOURCE not in table:
        return ()
    return tuple(_one(runs[:RUNS], name, views) for name in sorted(table[manifest.SOURCE].unique()))


def _one(runs: Sequence[stages.Run], name: str, views: int) -> LeftOut:
    table = runs[0].source.table
    mine = table[(table[manifest.SOURCE] == name) & (table["run_0"] != splitting.TEST)]
    labels, auc, problem = manifest.labels(mine), UNKNOWN, ""
    try:
        logits = np.mean([_logits(run, name, views) for run in runs], axis=0)
        auc = auc_interval(logits, labels, mine["group"].to_numpy(object), runs[0].settings.seed)
    except BadInput as error:
        problem = str(error)
        log.warning('source_not_judged source=%s reason="%s"', name, problem)
    log.info(
        "left_out source=%s images=%d auc=%.3f problem=%r", name, len(mine), auc.value, problem
    )
    return LeftOut(
        source=name, images=len(mine), malignant=int(labels.sum()), auc=auc, problem=problem
    )


def _logits(run: stages.Run, name: str, views: int) -> NDArray[np.float64]:
    return np.asarray(left_out.scored(run, name, views)[1], np.float64)
