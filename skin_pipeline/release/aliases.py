"""Aliases of model versions, `champion` above all, and the history of their moves.

```
models/<name>/champion.json                     a pointer, moved by compare-and-swap
models/<name>/canary.json                       so is every other alias
models/<name>/moves/<alias>/<number>.json       one document a move, written once
```

A pointer carries everything about the move that made it, and the move is written down after it.
Whoever is killed in between leaves a history that lacks its newest move at most: readers take
that one from the pointer, and the next mover writes it down before moving on. So the history is
complete, and has no move that the pointer did not make.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import PurePosixPath

from skin_pipeline.contracts import Move, Pointer, dump, parse
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.release.versions import folder, manifest_key
from skin_pipeline.storage import Store

log = logging.getLogger(__name__)

CHAMPION = "champion"
PATTERN = r"^[a-z0-9][a-z0-9-]{0,48}$"  # of an alias: that of a model's name
ANY = "*"  # no version's name
ATTEMPTS = 20  # moves of the pointer that may get in between before a move gives up


def champion(store: Store, model: str, alias: str = CHAMPION) -> Pointer | None:
    """What an alias names now, or None if it names nothing."""
    return _read(store, model, alias)[0]


def aliases(store: Store, model: str) -> dict[str, Pointer]:
    """All aliases of a model, by name."""
    keys = [PurePosixPath(key) for key in store.list(folder(model))]
    names = [key.stem for key in keys if len(key.parts) == 3 and key.suffix == ".json"]
    found = {name: champion(store, model, name) for name in names}
    return {name: pointer for name, pointer in found.items() if pointer}


def point(store: Store, pointer: Pointer, expected: str | None) -> bool:
    """Move an alias from version `expected` (None: it names nothing); whether this call moved it.

    Args:
        store: The store.
        pointer: What the alias shall be; its `number` and `previous` are set here.
        expected: The version that the alias must still name.

    Raises:
        BadInput: the version is not complete in the store.
    """
    model, alias = pointer.model, pointer.alias
    if not store.exists(manifest_key(model, pointer.version)):
        raise BadInput(f"{model} has no version {pointer.version}; nothing was moved")
    current, tag = _read(store, model, alias)
    if _version(current) != expected:
        return False
    if current:
        record(store, current)
    last = current or _last(store, model, alias)
    place = {"number": last.number + 1 if last else 1, "previous": _version(last)}
    moved = pointer.model_copy(update=place)
    if not store.swap(_key(model, alias), dump(moved), tag):
        return False
    record(store, moved)
    return True


def move(
    store: Store,
    model: str,
    version: str,
    *,
    alias: str,
    by: str,
    reason: str,
    expected: str | None = ANY,
    rollback: bool = False,
) -> bool:
    """Make an alias name a version; whether it does now. Nothing moves if it already did.

    Args:
        store: The store.
        model: The model's name.
        version: A complete version of it.
        alias: The alias.
        by: Who moves it: a person, or a run.
        reason: Why, for people.
        expected: Version that the alias must still name (None: nothing); `ANY` for whichever.
        rollback: Whether it is moved back.

    Raises:
        BadInput: the version is not complete in the store, or there is no reason.
        Unavailable: others moved the alias each time this call was about to.
    """
    reason = " ".join(reason.split())
    if not reason:
        raise BadInput("a move needs a reason, which stays in the history. Received: an empty one")
    for _ in range(ATTEMPTS):
        current = champion(store, model, alias)
        if current and current.version == version:
            record(store, current)
            log.info("already_there model=%s alias=%s version=%s", model, alias, version)
            return True
        if expected not in {ANY, _version(current)}:
            return False
        pointer = Pointer(
            model=model,
            alias=alias,
            version=version,
            previous=_version(current),
            moved_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            by=by,
            reason=reason,
            rollback=rollback,
        )
        if point(store, pointer, pointer.previous):
            log.info(
                'alias_moved model=%s alias=%s version=%s previous=%s by="%s" reason="%s"',
                *(model, alias, version, pointer.previous, by, reason),
            )
            return True
    raise Unavailable(f"{alias} of {model} moved {ATTEMPTS} times meanwhile")


def record(store: Store, pointer: Pointer) -> None:
    """Write the move that made a pointer into the history, unless it stands there."""
    store.put(_key_of(pointer), dump(Move(**pointer.model_dump())))


def moves(store: Store, model: str, alias: str = CHAMPION) -> list[Move]:
    """All moves of an alias, newest first; the first one is what it names now.

    Raises:
        BadInput: a document of the history is damaged.
    """
    pointer = champion(store, model, alias)
    if pointer is None:
        return []
    now = Move(**pointer.model_dump())
    # Others may move on meanwhile: of their moves nothing is told, so that all fits together.
    earlier = [key for key in _recorded(store, model, alias) if key < _key_of(now)]
    return [now, *(parse(store.read(key), Move, key) for key in reversed(earlier))]


def before(history: list[Move]) -> str | None:
    """The version that an alias named before the one it names now; None if there was none.

    A rollback does not count as having come from where it led away: asked again, it goes one
    version further back, and never returns to the one that was given up.
    """
    here = [move for move in history if move.version == history[0].version]
    came = next((move for move in here if not move.rollback), here[0] if here else None)
    return came.previous if came else None


def problems(store: Store, model: str, alias: str = CHAMPION) -> list[str]:
    """What does not fit together in an alias's history; its newest move is written if it lacks.

    Raises:
        BadInput: the pointer or a document of the history is damaged.
    """
    recorded = _recorded(store, model, alias)  # before the pointer, which is never behind it
    pointer = champion(store, model, alias)
    if pointer is None:
        return [f"{key} is a move of an alias that names nothing" for key in recorded]
    key = _key_of(pointer)
    found = [f"{item} is a move that the pointer did not make" for item in recorded if item > key]
    found += _breaks(moves(store, model, alias))
    if not found:  # else a damaged pointer would be written down for ever
        record(store, pointer)
        if parse(store.read(key), Pointer, key) != pointer:
            found.append(f"{key} is not the move that the pointer made")
    return found


def _breaks(history: list[Move]) -> Iterator[str]:
    """Where a history, newest first, does not lead from one move to the next."""
    if history and history[-1].number > 1:
        yield f"the moves before number {history[-1].number} are missing"
    for later, earlier in pairwise(history):
        if later.number != earlier.number + 1:
            yield f"the moves between numbers {earlier.number} and {later.number} are missing"
        elif later.previous != earlier.version:
            yield (
                f"move {later.number} led away from {later.previous}, but the one before to "
                f"{earlier.version}"
            )


def _read(store: Store, model: str, alias: str) -> tuple[Pointer | None, str | None]:
    key = _key(model, alias)
    found = store.tagged(key)
    if found is None:
        return None, None
    pointer = parse(found[0], Pointer, key)
    if (pointer.model, pointer.alias) != (model, alias):
        raise BadInput(f"{key} is damaged: it says {pointer.alias} of {pointer.model}")
    return pointer, found[1]


def _version(pointer: Pointer | None) -> str | None:
    return pointer.version if pointer else None


def _key(model: str, alias: str) -> str:
    if not re.fullmatch(PATTERN, alias):
        raise BadInput(
            "an alias is a name of lower-case letters, digits and hyphens, such as canary, of at "
            f"most 49. Received: {alias!r}"
        )
    return f"{folder(model)}/{alias}.json"


def _key_of(pointer: Pointer) -> str:
    """The key of the move that made a pointer; keys sort like the moves' numbers."""
    return f"{_moves(pointer.model, pointer.alias)}/{pointer.number:08}.json"


def _moves(model: str, alias: str) -> str:
    return f"{folder(model)}/moves/{alias}"


def _recorded(store: Store, model: str, alias: str) -> list[str]:
    """The keys of the moves that are written down, oldest first."""
    return store.list(_moves(model, alias))


def _last(store: Store, model: str, alias: str) -> Move | None:
    """The newest move that is written down: of an alias whose pointer was taken away, too."""
    keys = _recorded(store, model, alias)
    return parse(store.read(keys[-1]), Move, keys[-1]) if keys else None
