"""The audit table: who did what to which model, when, why, and what became of it; newest first.

    for entry in table(store, Wanted(kind="move", model="skin-resnet50")):
        …

It puts together what the store has in several places: the moves of aliases, judgements, approvals,
and the actions of people (with acknowledgements). Others can be mixed in, such as Airflow's event
log. Each source yields its entries newest first and is read only as far as somebody looks, so the
first page of two thousand judgements reads a few dozen of them. A document that cannot be read is
an entry that says so.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, replace
from datetime import date, datetime, timezone
from itertools import islice
from math import isnan
from pathlib import PurePosixPath
from typing import Literal, TypeVar

from skin_pipeline.contracts import Action, Approval, Contract, Judgement, Outcome, Pointer, parse
from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import line
from skin_pipeline.operations import actions
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import Model, Registry
from skin_pipeline.storage import Store

Kind = Literal["move", "judgement", "approval", "action", "airflow"]
KINDS: tuple[Kind, ...] = ("move", "judgement", "approval", "action", "airflow")
UNREADABLE = "cannot be read"
UNDER_WAY = "did not end"
APPROVALS = "approvals"  # where people's decisions are; see `Model.approvals`
# As Airflow makes the ids of runs. The one who moved an alias is `alice, manual__2026-…`.
KINDS_OF_RUNS = "manual|scheduled|asset_triggered|backfill|operator_triggered"
RUN_ID = re.compile(rf"(?:^|, )((?:{KINDS_OF_RUNS})__[^\s,]+)(?:, approved by .*)?$")


@dataclass(frozen=True)
class Entry:
    """A row of the table; what does not apply is empty.

    - `at` is a time in ISO 8601, in UTC.
    - `by` is a person as Airflow knows them, or the id of a run that nobody triggered.
    - `what` happened, `why`, and what its `result` was.
    - `dag` and `run` name the run of Airflow, and `report` the key of a report.
    - `unread` is true for a document that could not be read.
    """

    at: str
    kind: Kind
    model: str = ""
    by: str = ""
    what: str = ""
    why: str = ""
    result: str = ""
    dag: str = ""
    run: str = ""
    report: str = ""
    unread: bool = False


@dataclass(frozen=True)
class Wanted:
    """Which entries are wanted; an empty field wants all.

    - `by` is part of the name of a person, and `text` is somewhere in the entry, in any case.
    - `since` and `until` are days in UTC, both included.
    """

    kind: str = ""
    model: str = ""
    by: str = ""
    text: str = ""
    since: str = ""
    until: str = ""

    def __post_init__(self) -> None:
        """Raises `BadInput` if a kind or a day is none."""
        if self.kind not in {"", *KINDS}:
            raise BadInput(f"kind is one of {', '.join(KINDS)}. Received: {self.kind!r}")
        for name in ("since", "until"):
            day = getattr(self, name)
            try:
                date.fromisoformat(day or "2026-01-01")
            except ValueError:
                raise BadInput(f"{name} is a day such as 2026-11-26. Received: {day!r}") from None

    def covers(self, entry: Entry) -> bool:
        """Returns whether an entry is wanted."""
        day = entry.at[:10]
        return (
            self.kind in {"", entry.kind}
            and self.model in {"", entry.model}
            and self.by.casefold() in entry.by.casefold()
            and (not self.since or day >= self.since)
            and (not self.until or day <= self.until)
            and self._has_text(entry)
        )

    def _has_text(self, entry: Entry) -> bool:
        return (
            not self.text
            or self.text.casefold() in "\n".join(str(value) for value in astuple(entry)).casefold()
        )


def table(store: Store, wanted: Wanted, others: Iterable[Entry] = ()) -> Iterator[Entry]:
    """Yields the wanted entries, newest first.

    Args:
        store: The store.
        wanted: Which entries.
        others: Entries that the store does not have, newest first.

    Raises:
        PipelineError: The store cannot be listed.
    """
    sources = [*_sources(store, wanted), others]
    for entry in heapq.merge(*sources, key=lambda entry: entry.at, reverse=True):
        if wanted.since and entry.at[:10] < wanted.since:
            return  # all that follow are older
        if wanted.covers(entry):
            yield entry


def page(entries: Iterator[Entry], number: int, rows: int) -> tuple[list[Entry], bool]:
    """Returns a page of entries, counted from 1, and whether there are more after it."""
    found = list(islice(entries, (number - 1) * rows, number * rows + 1))
    return found[:rows], len(found) > rows


def _sources(store: Store, wanted: Wanted) -> Iterator[Iterator[Entry]]:
    """Yields the sources that can have wanted entries."""

    def wants(kind: Kind) -> bool:
        return wanted.kind in {"", kind}

    registry = Registry(store, SigningKeys())  # only to look: nothing is decided by it
    models = registry.models() if wants("move") or wants("judgement") else []
    for name in models:
        if wanted.model in {"", name}:
            model = registry.model(name)
            if wants("move"):
                yield from (_moves(model, alias) for alias in model.aliases())
            if wants("judgement"):
                yield _judgements(model, wanted)
    if wants("approval"):
        yield _approvals(store)
    if wants("action"):
        yield _actions(store, wanted)


# --- the sources ---------------------------------------------------------------------------------


def _moves(model: Model, alias: str) -> Iterator[Entry]:
    """Yields the moves of an alias, and first the newest, if it is not in the history yet."""
    (pointer, *keys), at = model.unverified.move_keys(alias), _now()
    there = [pointer] if model.store.exists(pointer) else []
    for key in (*there, *keys):
        move = _read(model.store, key, Pointer)
        if key == pointer and isinstance(move, Pointer) and _is_in(move, keys):
            continue
        entry = _moved(move, at) if isinstance(move, Pointer) else _unread("move", move, at)
        at = entry.at
        yield replace(entry, model=model.name)


def _is_in(pointer: Pointer, keys: list[str]) -> bool:
    return any(key.endswith(f"/{pointer.number:08}.json") for key in keys[:1])


def _moved(move: Pointer, later: str) -> Entry:
    run = RUN_ID.search(move.by)
    how = "rolled back" if move.rollback else "moved"
    origin = f"from version {move.previous}" if move.previous else "from nothing"
    dag = "skin_training" if run and run.start() == 0 and run.start(1) == 0 else "skin_alias"
    return Entry(
        _utc(move.moved_at, later),
        "move",
        by=line(move.by),
        what=line(f"{move.alias}: {how} {origin} to version {move.version}"),
        why=line(move.reason),
        result=f"move {move.number}",
        dag=("skin_rollback" if move.rollback else dag) if run else "",
        run=run[1] if run else "",
    )


def _judgements(model: Model, wanted: Wanted) -> Iterator[Entry]:
    at = _now()
    for key in reversed(model.judged_keys()):
        if wanted.until and _day(key) > wanted.until:
            continue
        said = _read(model.store, key, Judgement)
        entry = _judged(said, at) if isinstance(said, Judgement) else _unread("judgement", said, at)
        at = entry.at
        yield replace(entry, model=model.name)


def _judged(said: Judgement, later: str) -> Entry:
    run = RUN_ID.search(said.run)
    figures = ", ".join(
        f"{name} {figure}"
        for name, figure in (("sensitivity", said.sensitivity), ("AUC", said.auc))
        if not isnan(figure.value)
    )
    return Entry(
        _utc(said.judged_at, later),
        "judgement",
        by=line(said.run),
        what=f"gate: {figures}",
        why=line("; ".join(said.reasons)),
        result=line(f"approved: version {said.version}" if said.approved else "refused"),
        dag="skin_training" if run else "",
        run=run[1] if run else "",
        report=said.report,
    )


def _approvals(store: Store) -> Iterator[Entry]:
    read = (_read(store, key, Approval) for key in store.list(APPROVALS))
    entries = [
        _approved(said) if isinstance(said, Approval) else _unread("approval", said, _now())
        for said in read
    ]
    yield from sorted(entries, key=lambda entry: entry.at, reverse=True)


def _approved(said: Approval) -> Entry:
    instead = f"instead of version {said.champion}" if said.champion else "as the first champion"
    answer = "approved" if said.approved else "rejected"
    return Entry(
        _utc(said.at, _now()),
        "approval",
        model=said.model,
        by=said.by,
        what=line(f"champion: {said.verdict} {instead}"),
        why=said.note,
        result=answer if said.by else f"{answer}: nobody answered in time",
        dag=said.dag,
        run=said.run,
    )


def _actions(store: Store, wanted: Wanted) -> Iterator[Entry]:
    at = _now()
    for folder in actions.folders(store):
        if wanted.until and _day(folder) > wanted.until:
            continue
        intent = _read(store, f"{folder}/{actions.INTENT}", Action)
        entry = (
            _acted(intent, _outcome(store, f"{folder}/{actions.OUTCOME}"), at)
            if isinstance(intent, Action)
            else _unread("action", intent, at)
        )
        at = entry.at
        yield entry


def _acted(intent: Action, result: str, later: str) -> Entry:
    return Entry(
        _utc(intent.at, later),
        "action",
        model=intent.model,
        by=intent.by or intent.run,
        what=f"{intent.kind}: {intent.plan}",
        why=intent.reason,
        result=result,
        dag=intent.dag,
        run=intent.run,
    )


def _outcome(store: Store, key: str) -> str:
    """Returns in words what became of an action."""
    if not store.exists(key):
        return UNDER_WAY
    found = _read(store, key, Outcome)
    if not isinstance(found, Outcome):
        return found
    return found.result or "done" if found.done else f"failed: {found.result}"


# --- reading -------------------------------------------------------------------------------------

C = TypeVar("C", bound=Contract)


def _read(store: Store, key: str, kind: type[C]) -> C | str:
    """Returns a document, or why it cannot be read."""
    try:
        return parse(store.read(key), kind, key)
    except BadInput as error:
        return f"{UNREADABLE}: {error}"


def _unread(kind: Kind, problem: str, later: str) -> Entry:
    return Entry(later, kind, result=problem, unread=True)


def _day(key: str) -> str:
    """Returns the day at the start of a key's name, `20261126T…`, as `2026-11-26`; "" without."""
    found = re.match(r"(\d{4})(\d\d)(\d\d)T", PurePosixPath(key).name)
    return "-".join(found.groups()) if found else ""


def _utc(text: str, later: str) -> str:
    """Returns a time of a document in UTC; that of the entry after it, if the text is no time."""
    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return later
    return when.replace(tzinfo=when.tzinfo or timezone.utc).astimezone(timezone.utc).isoformat()


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()
