"""Open alerts and the next scheduled runs, which several pages show."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from skin_reading import attempt

from skin_pipeline.foreign import guard

if TYPE_CHECKING:
    from skin_pipeline.contracts import Incident
    from skin_pipeline.operations import reading

log = logging.getLogger(__name__)
guard(__name__)

DAGS = ("skin_training", "skin_scoring")  # whose next run is shown


@dataclass(frozen=True)
class Alerts:
    """What people were alerted to and is not over, newest first; and documents that are damaged."""

    open: tuple[Incident, ...] = ()
    problems: tuple[str, ...] = ()

    def of(self, model: str) -> tuple[Incident, ...]:
        """Returns those of a model; with "", those of none."""
        return tuple(item for item in self.open if item.model == model)


def open_alerts(store: reading.Reading) -> Alerts:
    """Returns what people were alerted to and is not over."""
    from skin_pipeline.operations import incidents

    numbers = [key.split("/")[-1].removesuffix(".json") for key in store.list(incidents.FOLDER)]
    read = [attempt(partial(incidents.of_id, store, number), None) for number in numbers]
    found = [item for item, _ in read if item and item.state != "ended"]
    found.sort(key=lambda item: item.seen_at, reverse=True)
    return Alerts(tuple(found), tuple(problem for _, problem in read if problem))


@dataclass(frozen=True)
class Scheduled:
    """When a DAG runs next: `at`, which is empty if no time is set; `what` says what starts it."""

    dag: str
    at: str
    what: str
    paused: bool


def next_runs() -> list[Scheduled]:
    """Returns the next runs of our DAGs, of those that Airflow knows; [] if it cannot be asked."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select
    from sqlalchemy.exc import SQLAlchemyError

    wanted = select(
        DagModel.dag_id,
        DagModel.next_dagrun_create_after,
        DagModel.timetable_description,
        DagModel.is_paused,
    ).where(DagModel.dag_id.in_(DAGS), DagModel.is_stale.is_(False))
    try:
        with create_session() as session:
            rows = session.execute(wanted).all()
    except SQLAlchemyError as error:
        log.warning("next_runs_unknown error=%s", type(error).__name__)
        return []
    found = [
        Scheduled(dag, at.isoformat() if at else "", what or "", bool(paused))
        for dag, at, what, paused in rows
    ]
    return sorted(found, key=lambda item: DAGS.index(item.dag))
