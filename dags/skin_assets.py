"""The assets by which DAGs start each other, and what starts `skin_training`.

| Asset | It changed when |
|---|---|
| `skin-data/MODEL` | somebody announces new images: by Airflow's API, or a DAG of another team |
| `skin-drift/MODEL` | monitoring raised an alarm |
| `skin-labels/MODEL` | labels came back |
| `skin-scores/MODEL` | a batch of new images was scored |
| `skin-model/MODEL/ALIAS` | an alias was moved: promoted, rolled back, or by a person |

    announce(LABELS, labels("skin-resnet50"), {"labels": 12})   # in a task with outlets=[LABELS]

A task names only the kind of what it may announce (an `AssetAlias`), because the model is a setting
of its run. A task that announces nothing makes no event, so nothing starts when nothing changed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any

from airflow.sdk import (
    Asset,
    AssetAlias,
    AssetOrTimeSchedule,
    CronTriggerTimetable,
    get_current_context,
)

from skin_pipeline.config import Deployment, read_settings, retraining
from skin_pipeline.contracts import CHAMPION
from skin_pipeline.errors import BadInput
from skin_pipeline.release import MODEL_FILE, Model

log = logging.getLogger(__name__)

LABELS, DRIFT, RELEASED = map(AssetAlias, ("skin-labels", "skin-drift", "skin-model"))
SCORES = AssetAlias("skin-scores")


def data(model: str) -> Asset:
    """Returns the asset of the images that a model is trained on."""
    return _asset("data", model)


def drift(model: str) -> Asset:
    """Returns the asset of what monitoring found out about a model."""
    return _asset("drift", model)


def labels(model: str) -> Asset:
    """Returns the asset of the labels that came back for the images that a model scored."""
    return _asset("labels", model)


def scores(model: str) -> Asset:
    """Returns the asset of the images that a model has scored."""
    return _asset("scores", model)


def released(model: str, alias: str = CHAMPION) -> Asset:
    """Returns the asset of the version that an alias of a model names."""
    return _asset("model", f"{model}/{alias}")


def _asset(kind: str, path: str) -> Asset:
    # Airflow reserves no scheme but `airflow`, and changes nothing in an address of a scheme that
    # it does not know.
    return Asset(name=f"skin-{kind}/{path}", uri=f"skin://{kind}/{path}", group="skin")


def announce(kind: AssetAlias, asset: Asset, extra: Mapping[str, Any]) -> None:
    """Makes an event of an asset when the running task succeeds; its outlets contain `kind`."""
    context: Any = get_current_context()
    context["outlet_events"][kind].add(asset, extra=dict(extra))
    log.info('asset_announced asset="%s" extra="%s"', asset.name, dict(extra))


def announce_move(model: Model, alias: str = CHAMPION) -> None:
    """Announces what an alias names now, with the digest of the model's file."""
    pointer = model.pointer(alias)
    if pointer is None:
        return
    digest = model.release(pointer.version).files.get(MODEL_FILE, "")
    said = {"model": model.name, "alias": alias, "version": pointer.version, "digest": digest}
    moved = {"previous": pointer.previous, "moved_at": pointer.moved_at, "by": pointer.by}
    announce(RELEASED, released(model.name, alias), {**said, **moved, "rollback": pointer.rollback})


# --- what starts skin_training -------------------------------------------------------------------

STARTERS: dict[str, Callable[[str], Asset]] = {"data": data, "drift": drift, "labels": labels}


def schedule_of(deployment: Deployment) -> Any:
    """Returns the schedule of `skin_training`: a cron expression, assets, both, or None.

    What cannot be understood in `SKIN_RETRAIN_ON` starts nothing; `problem_of` says so.
    """
    model = read_settings({}).released_as
    starters = [STARTERS[kind](model) for kind in retraining(deployment.retrain_on).kinds]
    if not starters:
        return deployment.schedule or None
    return _either(deployment.schedule, starters)


def _either(cron: str, starters: Sequence[Asset]) -> Any:
    either = reduce(or_, starters)  # any of them, not all
    if not cron:
        return either if len(starters) > 1 else list(starters)
    return AssetOrTimeSchedule(timetable=CronTriggerTimetable(cron, timezone="UTC"), assets=either)


def problem_of(deployment: Deployment) -> str:
    """Returns what is wrong with `SKIN_RETRAIN_ON`, and what to do; "" for nothing.

    It is no exception: that would remove the DAG from Airflow, with the schedule that still holds.
    """
    try:
        retraining(deployment.retrain_on).check()
    except BadInput as error:
        log.error('retrain_on_not_understood problem="%s"', error)
        return str(error)
    return ""
