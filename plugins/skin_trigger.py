"""DAG runs that our pages start, exactly as Airflow's own API does, and how they are getting on."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from skin_request import REQUEST, USER
from skin_rights import user_name

from skin_pipeline.foreign import guard

log = logging.getLogger(__name__)
guard(__name__)

ENDED = ("success", "failed")


class RunState(NamedTuple):
    """A DAG run as Airflow sees it."""

    state: str
    by: str
    queued_at: str
    ended_at: str
    is_paused: bool

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state in ENDED


def trigger(dag_id: str, conf: Mapping[str, str]) -> str:
    """Starts a DAG run in the name of the user who asks. Returns its id.

    The rights are checked by the dependencies of the page, as everywhere in Airflow.

    Raises:
        HTTPException: Airflow has no such DAG, or its form refuses a value.
    """
    from airflow.api_fastapi.core_api.datamodels.dag_run import TriggerDAGRunPostBody

    # What answers POST /api/v2/dags/{dag_id}/dagRuns. So it checks what that does (is the DAG
    # there, has it errors, does its form accept the values) and keeps who triggered the run.
    from airflow.api_fastapi.core_api.routes.public.dag_run import trigger_dag_run
    from airflow.models.dagbag import DBDagBag
    from airflow.models.log import Log
    from airflow.utils.session import create_session

    body = TriggerDAGRunPostBody(logical_date=None, conf=dict(conf))
    with create_session(scoped=False) as session:
        # The type that it says is that of the answer which FastAPI makes of the run.
        run: Any = trigger_dag_run(dag_id, body, DBDagBag(), USER.get(), session, REQUEST.get())
        run_id = str(run.run_id)
        noted = json.dumps({"page": "skin-models", "conf": dict(conf)})
        session.add(
            Log("trigger_dag_run", owner=user_name(), extra=noted, dag_id=dag_id, run_id=run_id)
        )
    log.info('triggered dag=%s run=%s by="%s"', dag_id, run_id, user_name())
    return run_id


def is_paused(dag_id: str) -> bool:
    """Returns whether a DAG is paused, so that its runs wait."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session(scoped=False) as session:
        return bool(session.scalar(select(DagModel.is_paused).where(DagModel.dag_id == dag_id)))


def state_of(dag_id: str, run_id: str) -> RunState | None:
    """Returns how a DAG run is getting on; None if there is none."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
    with create_session(scoped=False) as session:
        run = session.scalar(query)
        if run is None:
            return None
        state, by = str(run.state), run.triggering_user_name or ""
        times = _iso(run.queued_at), _iso(run.end_date)
    return RunState(state, by, *times, is_paused=is_paused(dag_id))


def _iso(moment: Any) -> str:
    return moment.isoformat() if moment else ""
