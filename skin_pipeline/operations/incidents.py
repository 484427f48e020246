"""Incidents: what people are alerted to, once, however often it is seen.

    incident = seen(store, "task_failed", "skin_training train", headline=…, text=…)
    if incident.count == 1:                     # new: send the alert
        …
    ended(store, "task_failed", "skin_training train")

`incidents/<id>.json` has the state of one incident. Its id is made from its kind and its subject.

Some kinds are moments, such as a promotion: they do not last, so they are never open, and what they
happened to (a verdict, a move) is their subject, so that each is told once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from skin_pipeline.contracts import EventKind, Incident, address, parse, revise
from skin_pipeline.errors import BadInput
from skin_pipeline.storage import Store

log = logging.getLogger(__name__)

FOLDER = "incidents"
MOMENTS: frozenset[EventKind] = frozenset({"promoted", "rolled_back", "data_warning"})
LAST_RUNS = 50  # of those that saw an incident; a callback of an earlier one may come late
# An alert that was neither sent nor marked as not sent after this time was lost with its process.
LOST = timedelta(minutes=10)


def id_of(kind: EventKind, subject: str) -> str:
    """Returns the id of an incident: 12 hexadecimal digits."""
    return address({"kind": kind, "subject": subject})[:12]


def seen(
    store: Store,
    kind: EventKind,
    subject: str,
    *,
    model: str,
    headline: str,
    text: Sequence[str],
    links: Mapping[str, str] = {},
    origin: Mapping[str, str | int | bool] = {},
    at: datetime | None = None,
) -> Incident:
    """Opens an incident, or counts it once more. Returns it.

    Args:
        store: The store.
        kind: What happened.
        subject: What it happened to: the same text as long as it is the same incident.
        model: The model that it is about, or "".
        headline: The subject of the alert.
        text: The lines of the alert.
        links: Addresses by name, such as `Report`.
        origin: What machines read: the DAG, the run, the task.
        at: When it happened; by default now.
    """
    now = _now()
    said = {
        **{"headline": headline, "text": tuple(text), "links": dict(links)},
        **{"origin": dict(origin), "seen_at": now},
    }

    def change(old: Incident | None) -> Incident:
        runs = (*(old.runs if old else ()), str(origin.get("run_id", "")))[-LAST_RUNS:]
        told = {**said, "runs": runs, "happened_at": _last(old, at).isoformat()}
        if old and (kind in MOMENTS or old.state != "ended"):
            return Incident(**{**old.model_dump(), **told, "count": old.count + 1})
        return _opened(kind, subject, old, now, {**told, "model": model})

    incident = revise(store, _key(id_of(kind, subject)), Incident, change)
    assert incident is not None
    log.info("incident id=%s kind=%s count=%d", incident.id, kind, incident.count)
    return incident


def _opened(
    kind: EventKind, subject: str, old: Incident | None, now: str, said: Mapping[str, Any]
) -> Incident:
    """Returns an incident of a new episode. A moment is over as soon as it is told."""
    moment = kind in MOMENTS
    return Incident(
        id=id_of(kind, subject),
        episode=old.episode + 1 if old else 1,
        kind=kind,
        subject=subject,
        state="ended" if moment else "open",
        opened_at=now,
        ended_at=now if moment else "",
        **said,
    )


def ended(store: Store, kind: EventKind, subject: str) -> Incident | None:
    """Ends an incident. Returns it as it is now; None if it was not open."""
    number = id_of(kind, subject)
    before = of_id(store, number)
    if before is None or before.state == "ended":
        return None
    now = _now()
    return update(store, number, state="ended", ended_at=now)


def is_outdated(store: Store, kind: EventKind, subject: str, at: datetime) -> bool:
    """Returns whether something good came before the last time that an incident happened, so that
    it does not end the incident."""
    incident = of_id(store, id_of(kind, subject))
    if incident is None:
        return False
    return at < _happened(incident)


def _last(old: Incident | None, at: datetime | None) -> datetime:
    """Returns when an incident happened last: an earlier time may be reported after a later one."""
    now = at or datetime.now(timezone.utc)
    return max(now, _happened(old)) if old else now


def _happened(incident: Incident) -> datetime:
    return datetime.fromisoformat(incident.happened_at or incident.seen_at)


def acknowledge(store: Store, number: str, by: str) -> Incident:
    """Marks an incident as being worked on by a person. Returns it.

    Raises:
        BadInput: There is no such incident, or it has ended.
    """
    found = of_id(store, number)
    if found is None or found.state == "ended":
        known = ", ".join(item.id for item in every(store) if item.state != "ended") or "none"
        raise BadInput(
            f"there is no open incident with this id. Received: {number!r}; open are: {known}"
        )
    return update(store, number, state="acknowledged", acknowledged_by=by)


def update(store: Store, number: str, **fields: Any) -> Incident:
    """Changes fields of an incident that exists. Returns it as it is now.

    Raises:
        BadInput: There is no such incident.
    """

    def change(old: Incident | None) -> Incident | None:
        return Incident(**{**old.model_dump(), **fields}) if old else None

    incident = revise(store, _key(number), Incident, change)
    if incident is None:
        raise BadInput(f"there is no incident with this id. Received: {number!r}")
    return incident


def of_id(store: Store, number: str) -> Incident | None:
    """Returns the incident with an id, or None."""
    found = store.tagged(_key(number))
    return parse(found[0], Incident, number) if found else None


def every(store: Store) -> list[Incident]:
    """Returns all incidents that can be read, the one that was seen last first.

    One that is damaged is an error in the log: it must not keep the others from being sent.
    """
    numbers = (key.split("/")[-1].removesuffix(".json") for key in store.list(FOLDER))
    found = (_readable(store, number) for number in numbers)
    return sorted((item for item in found if item), key=lambda item: item.seen_at, reverse=True)


def _readable(store: Store, number: str) -> Incident | None:
    try:
        return of_id(store, number)
    except BadInput as error:
        log.error("incident_unreadable id=%s error=%s", number, error)
        return None


def unsent(store: Store) -> list[Incident]:
    """Returns the incidents of which an alert, or the message that it ended, has not arrived.

    `problem` of such an incident says why, or is empty if the process that was to send it is gone.
    """
    return [item for item in every(store) if is_unsent(item)]


def is_over(incident: Incident) -> bool:
    """Returns whether what lasted has ended; moments are never over."""
    return incident.state == "ended" and incident.kind not in MOMENTS


def is_unsent(incident: Incident) -> bool:
    """Returns whether a message about an incident has still to be sent."""
    over = is_over(incident)
    if incident.recovery_sent if over else incident.sent:
        return False
    since = incident.ended_at if over else incident.opened_at
    return bool(incident.problem) or _age(since) > LOST


def _age(moment: str) -> timedelta:
    return datetime.now(timezone.utc) - datetime.fromisoformat(moment)


def _key(number: str) -> str:
    return f"{FOLDER}/{number}.json"


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()
