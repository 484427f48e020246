"""Makes the note of a DAG run of the words that one of its tasks left for it.

Only Airflow's API and its scheduler can write a run's note, and a task reaches neither. The
scheduler calls this listener when a run ends; the note then shows in the list of runs.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

log = logging.getLogger(__name__)

NOTE = "skin_note"  # the key under which tasks leave the text, as in `dags/skin_airflow.py`
OURS = "skin_"  # how the names of our DAGs begin
MOST = 1000  # letters that Airflow keeps


class Listener:
    """Is called by the scheduler, in its own transaction. What fails here must not stop a run."""

    @hookimpl
    def on_dag_run_success(self, dag_run: DagRun, msg: str) -> None:
        """Writes the note of a run that ended well."""
        _write(dag_run)

    @hookimpl
    def on_dag_run_failed(self, dag_run: DagRun, msg: str) -> None:
        """Writes the note of a run that failed after a task had left one."""
        _write(dag_run)


def _write(dag_run: DagRun) -> None:
    if not dag_run.dag_id.startswith(OURS) or dag_run.note:
        return  # of another DAG, or a person wrote one
    try:
        text = _left_by_a_task(dag_run)
        if text:
            dag_run.note = text[:MOST]
    except Exception:
        log.exception("note_not_written dag=%s run=%s", dag_run.dag_id, dag_run.run_id)


def _left_by_a_task(dag_run: DagRun) -> str:
    """Returns the last text that a task of the run left; "" for none."""
    from airflow.models.xcom import XComModel
    from sqlalchemy.orm import object_session

    session: Any = object_session(dag_run)
    found = session.scalars(
        XComModel.get_many(
            run_id=dag_run.run_id, key=NOTE, dag_ids=dag_run.dag_id, include_prior_dates=False
        ).limit(1)
    ).first()
    return str(XComModel.deserialize_value(found)) if found else ""


class SkinNotesPlugin(AirflowPlugin):
    """Registers the listener."""

    name = "skin_notes"
    listeners: ClassVar[list[Any]] = [Listener()]  # type: ignore[misc]
