"""What Airflow's own event log says about our DAGs, as entries of the audit table."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from skin_rights import may_audit

from skin_pipeline.foreign import guard, line

if TYPE_CHECKING:
    from skin_pipeline.operations import audit

log = logging.getLogger(__name__)
guard(__name__)

OURS = "skin\\_%"  # how the ids of our DAGs begin, for SQL
ROWS = 500  # read at once
MOST = 20_000  # looked through for one page
# Events of tasks that run as they should; they are shown where Airflow's events are asked for.
BY_ITSELF = ("scheduled", "queued", "running", "success", "skipped", "deferred")
HOST = '{"host_name"'  # beside the event of a task, Airflow notes on which machine
WIDE = 300  # characters of what Airflow noted beside an event


def readable_dags() -> tuple[str, ...]:
    """Returns the ids of our DAGs whose event log the user who asks may read."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(DagModel.dag_id).where(DagModel.dag_id.like(OURS, escape="\\"))
    with create_session(scoped=False) as session:
        there = sorted(session.scalars(query))
    return tuple(dag for dag in there if may_audit(dag))


def entries(dags: tuple[str, ...], wanted: audit.Wanted) -> Iterator[audit.Entry]:
    """Yields the events of some DAGs, newest first, as far as somebody looks.

    Args:
        dags: The DAGs whose events the user may read.
        wanted: Which entries are wanted; the kind, the person and the days are looked at here.
    """
    from skin_pipeline.operations import audit

    if not dags or wanted.model or wanted.kind not in {"", "airflow"}:
        return
    last, seen = None, 0
    while rows := _rows(dags, wanted, last):
        for row in rows:
            yield _entry(row)
        last, seen = rows[-1], seen + len(rows)
        if seen >= MOST:
            words = f"older events are not looked through: narrow the days down (after {MOST})"
            yield audit.Entry(last.dttm.isoformat(), "airflow", what=words, unread=True)
            return


def _rows(dags: tuple[str, ...], wanted: audit.Wanted, last: Any) -> list[Any]:
    """Returns the next events, older than `last`."""
    from airflow.models.log import Log
    from airflow.utils.session import create_session
    from sqlalchemy import and_, or_, select

    query = select(
        *(Log.id, Log.dttm, Log.dag_id, Log.run_id, Log.task_id, Log.map_index),
        *(Log.event, Log.owner, Log.extra),
    ).where(Log.dag_id.in_(dags), Log.dttm.is_not(None), *_conditions(Log, wanted))
    if last is not None:
        query = query.where(
            or_(Log.dttm < last.dttm, and_(Log.dttm == last.dttm, Log.id < last.id))
        )
    with create_session(scoped=False) as session:
        return list(session.execute(query.order_by(Log.dttm.desc(), Log.id.desc()).limit(ROWS)))


def _conditions(columns: Any, wanted: audit.Wanted) -> Iterator[Any]:
    from datetime import datetime, timedelta, timezone

    if not wanted.kind:  # what tasks did by themselves would hide what people did
        yield columns.event.not_in(BY_ITSELF)
    if wanted.by:
        yield columns.owner.icontains(wanted.by, autoescape=True)
    if wanted.since:
        yield columns.dttm >= datetime.fromisoformat(wanted.since).replace(tzinfo=timezone.utc)
    if wanted.until and wanted.until < "9999-12-31":
        day = datetime.fromisoformat(wanted.until).replace(tzinfo=timezone.utc)
        yield columns.dttm < day + timedelta(days=1)


def _entry(row: Any) -> audit.Entry:
    from datetime import timezone

    from skin_pipeline.operations import audit

    task = f" {row.task_id}" if row.task_id else ""
    number = f" [{row.map_index}]" if row.task_id and (row.map_index or -1) >= 0 else ""
    return audit.Entry(
        row.dttm.astimezone(timezone.utc).isoformat(),
        "airflow",
        by=line(row.owner or ""),
        what=line(f"{row.dag_id}{task}{number}: {row.event}"),
        result="" if (row.extra or "").startswith(HOST) else line(row.extra or "", WIDE),
        dag=row.dag_id,
        run=row.run_id or "",
    )
