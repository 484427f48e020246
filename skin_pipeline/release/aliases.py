"""Moves aliases: `champion` above all, and every other name for a version of a model.

```
models/<name>/champion.json                     a pointer, moved by compare-and-swap
models/<name>/canary.json                       another alias: a pointer too
models/<name>/moves/<alias>/<number>.json       one document a move, written once
```

A pointer contains everything about the move that made it. First the pointer is swapped, then the
same bytes are written into the history. If a process is killed between the two, the history lacks
its newest move, and nothing else is wrong: readers take that move from the pointer, and the next
move writes it into the history first. So no move is ever lost, and the history contains no move
that did not happen.

`pointers` says how moves are chained and signed, `trust` which pointer may be used, and `history`
finds documents that were changed, removed or invented.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timezone

from skin_pipeline.contracts import Pointer, parse
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import pointers, seen, trust
from skin_pipeline.release.pointers import Alias, Document, move_key
from skin_pipeline.release.versions import Version, folder
from skin_pipeline.storage import Store

log = logging.getLogger(__name__)

ANY = "*"  # cannot be the name of a version
ATTEMPTS = 20  # a move gives up when other processes were faster so many times


# --- names ---------------------------------------------------------------------------------------


def pointing(store: Store, model: str) -> list[str]:
    """Returns the names of all aliases that have a pointer, sorted."""
    there = (key.split("/") for key in store.list(folder(model)))
    return [
        parts[2].removesuffix(".json")
        for parts in there
        if len(parts) == 3 and parts[2].endswith(".json")
    ]


def named(store: Store, model: str) -> list[str]:
    """Returns the names of all aliases that have a pointer or a history, sorted."""
    parts = [key.split("/") for key in store.list(folder(model))]
    there = {part[2].removesuffix(".json") for part in parts if len(part) == 3}
    return sorted(there | {part[3] for part in parts if len(part) == 5 and part[2] == "moves"})


def watched(store: Store, model: str, keys: SigningKeys) -> list[str]:
    """Returns the names of all aliases that exist, were once moved, or were seen here, sorted.

    Those that were seen count too. Otherwise nobody would notice that an alias was removed together
    with its history.
    """
    seen_here = (name.split("/") for name in seen.recall(store, keys).of(keys))
    return sorted({name for owner, name in seen_here if owner == model} | {*named(store, model)})


def before(history: Sequence[Document]) -> str | None:
    """Returns the version that an alias named before the one that it names now; None for none.

    After a rollback from 3 to 2 that is 1, and not 3, which was given up: so a second rollback goes
    one version further back. Moves from a version to itself, which only sign the history, do not
    count.

    Args:
        history: All moves, newest first.
    """
    moves = [document.move for document in history]
    # The moves that led to the present version. The newest that is no rollback says where it came
    # from when it was first used.
    here = [move for move in moves if move.version == moves[0].version != move.previous]
    came = next((move for move in here if not move.rollback), here[0] if here else None)
    return came.previous if came else None


# --- moves ---------------------------------------------------------------------------------------


def move(
    alias: Alias,
    version: str,
    *,
    by: str,
    reason: str,
    expected: str | None = ANY,
    rollback: bool = False,
) -> bool:
    """Makes an alias name a version. Returns whether it names it now.

    Nothing moves if it names it already. With a private key the move is signed. With a public key
    the present pointer must be signed.

    Args:
        alias: The alias.
        version: A complete version of its model.
        by: Who moves it: a person, or a run.
        reason: Why, for people.
        expected: Version that the alias must still name (None: nothing); `ANY` accepts every one.
        rollback: Whether the move is a rollback, which its document then says.

    Raises:
        BadInput: the version is not complete in the store, there is no reason, or the present
            pointer is damaged or not trusted.
        Unavailable: other processes moved the alias each time before this call could.
    """
    reason = one_line(reason)
    for _ in range(ATTEMPTS):
        current = trust.pointer(alias)
        if current and current.move.version == version:
            record(alias, current)
            log.info("already_there model=%s alias=%s version=%s", alias.model, alias.name, version)
            return True
        if expected not in {ANY, _version(current)}:
            return False
        to = _pointer(alias, version, current, by=by, reason=reason, rollback=rollback)
        if point(alias, to, to.previous):
            log.info(
                'alias_moved model=%s alias=%s version=%s previous=%s by="%s" reason="%s"',
                *(alias.model, alias.name, version, to.previous, by, reason),
            )
            return True
    raise Unavailable(f"other processes moved {alias} {ATTEMPTS} times meanwhile; try again")


def one_line(reason: str) -> str:
    """Returns a reason on one line. Raises `BadInput` if there is none."""
    reason = " ".join(reason.split())
    if not reason:
        raise BadInput("a move needs a reason, which stays in the history. Received: an empty one")
    return reason


def _pointer(
    alias: Alias, version: str, current: Document | None, *, by: str, reason: str, rollback: bool
) -> Pointer:
    return Pointer(
        model=alias.model,
        alias=alias.name,
        version=version,
        previous=_version(current),
        moved_at=_now(),
        by=by,
        reason=reason,
        rollback=rollback,
    )


def point(alias: Alias, pointer: Pointer, expected: str | None) -> bool:
    """Moves an alias from version `expected` (None: it names nothing), once.

    Args:
        alias: The alias.
        pointer: The new pointer. Its number and its link to the move before are set here.
        expected: The version that the alias must still name.

    Returns:
        Whether this call moved it.

    Raises:
        BadInput: the version is not complete in the store, or the present pointer is damaged or
            not trusted.
    """
    version = Version(alias.store, alias.model, pointer.version, alias.keys)
    if not alias.store.exists(version.manifest_key):
        raise BadInput(f"{alias.model} has no version {pointer.version}; nothing was moved")
    current = trust.pointer(alias)
    if _version(current) != expected:
        return False
    return _follow(alias, pointer, current)


def _follow(alias: Alias, pointer: Pointer, current: Document | None) -> bool:
    """Moves an alias if its pointer is still `current`. Returns whether this call moved it."""
    alias.keys.check_mover()
    last = _last(alias, current)
    if _has_gone_on(alias, last, current):
        return False
    chained = {
        "number": last.move.number + 1 if last else 1,
        "previous": _version(last),
        "previous_sha256": last.sha256 if last else "",
    }
    pointer = pointer.model_copy(update=chained)
    content = pointers.sealed(alias.store, pointer, alias.keys)
    if not alias.store.swap(alias.key, content, current.tag if current else None):
        return False
    # The alias has moved. If the process is killed before the next line, the history lacks the move
    # until the next move or `record` adds it from the pointer.
    key = move_key(pointer)
    alias.store.put(key, content)
    if alias.keys.state and alias.keys.public:
        moved = Document(key, content, parse(content, Pointer, key))
        memory = seen.recall(alias.store, alias.keys)
        trust.keep(alias, moved, memory, moved.move.store)
    return True


def _last(alias: Alias, current: Document | None) -> Document | None:
    """Returns the newest move, after it is in the history; None for an alias that never moved.

    If the pointer was removed, it is the newest move of the history, so that its numbers continue.
    """
    if current:
        return record(alias, current)
    keys = list(alias.recorded().values())
    return pointers.written(alias.store, keys[-1]) if keys else None


def _has_gone_on(alias: Alias, last: Document | None, current: Document | None) -> bool:
    """Returns whether others have moved an alias since it was read.

    Raises:
        BadInput: they have not, but the history contains later moves than the pointer.
    """
    newest = max(alias.recorded(), default=-1)
    if last is None or newest <= last.move.number:
        return False
    now = alias.read()
    if (now.tag if now else None) != (current.tag if current else None):
        return True
    raise BadInput(
        f"{alias.key} is move {last.move.number}, but the history goes on to move {newest}: an old "
        "pointer was put back, or a move was invented. Nothing was moved. If "
        f"move {newest} is true, copy {alias.moves_key}/{newest:08}.json to the pointer; else "
        "remove the moves that are not true"
    )


def record(alias: Alias, pointer: Document) -> Document:
    """Writes the move that made a pointer into the history. Returns the history's document.

    Raises:
        BadInput: the history has another move of this number.
    """
    key = move_key(pointer.move)
    if alias.store.put(key, pointer.content):
        return pointer._replace(key=key)
    there = pointers.written(alias.store, key)
    if not pointers.same(there, pointer):
        raise BadInput(
            f"{key} is not the move that made {pointer.key}, though it has its number. Nothing was "
            "moved. Find out which of them is true, and copy it to the other's place"
        )
    return there


# --- signing what was not signed -----------------------------------------------------------------


def sign_history(alias: Alias, by: str) -> str:
    """Signs what an alias names, and its history so far, by a move to the same version.

    The version is verified first, and with a public key it must be signed. A person must look at
    the history before, because the signature vouches for all of it.

    Args:
        alias: An alias that names a version.
        by: Who signs.

    Returns:
        What was signed, for people; "" if all was signed already, or the alias names nothing.

    Raises:
        BadInput: the key cannot be used, the version is damaged or not signed, or the pointer is
            older than what was seen here.
        Unavailable: the alias was moved meanwhile.
    """
    public, memory = alias.keys.own(), seen.recall(alias.store, alias.keys)
    here = pointers.identity(alias.store)
    history = alias.documents()
    if not any(pointers.unsigned(history, public, here)):
        return ""
    current, signed = history[0], pointers.digest_of(history)
    # Not `trust.pointer`: that refuses the missing signature, which is what is mended here.
    if problem := trust.identity_problem(memory, here) or trust.replay_problem(
        alias, current, memory.of(alias.keys)
    ):
        raise BadInput(problem)
    version = current.move.version
    Version(alias.store, alias.model, version, alias.keys).verify()
    what = f"the history so far, up to move {current.move.number}, SHA-256 {signed}"
    pointer = _pointer(alias, version, current, by=by, reason=f"signed {what}", rollback=False)
    pointer = pointer.model_copy(update={"history_sha256": signed})
    if not _follow(alias, pointer, current):
        raise Unavailable(f"{alias} was moved meanwhile: look at it, and sign again")
    log.info("history_signed model=%s alias=%s moves=%d", alias.model, alias.name, len(history))
    return f"version {version} and {what}"


def _version(document: Document | None) -> str | None:
    return document.move.version if document else None


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
