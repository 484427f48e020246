"""Aliases of model versions, `champion` above all, and the history of their moves.

```
models/<name>/champion.json                     a pointer, moved by compare-and-swap
models/<name>/canary.json                       so is every other alias
models/<name>/moves/<alias>/<number>.json       one document a move, written once
```

A pointer carries everything about the move that made it, and its bytes are written down after it.
Whoever is killed in between leaves a history that lacks its newest move at most: readers take
that one from the pointer, and the next mover writes it down before moving on. So the history is
complete, and has no move that the pointer did not make. `pointers` says how moves are chained and
signed, `history` finds what was done to them.
"""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from pathlib import PurePosixPath

from skin_pipeline.contracts import Move, Pointer, parse
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.provenance import NONE, SigningKeys
from skin_pipeline.release import pointers
from skin_pipeline.release.pointers import PATTERN, Document, move_key, pointer_key, recorded
from skin_pipeline.release.seen import recall
from skin_pipeline.release.versions import folder, manifest_key, verify
from skin_pipeline.storage import Store

__all__ = [
    "ANY",
    "ATTEMPTS",
    "CHAMPION",
    "PATTERN",
    "aliases",
    "before",
    "champion",
    "documents",
    "move",
    "moves",
    "named",
    "point",
    "record",
]

log = logging.getLogger(__name__)

CHAMPION = "champion"
ANY = "*"  # no version's name
ATTEMPTS = 20  # moves of the pointer that may get in between before a move gives up


def champion(
    store: Store, model: str, alias: str = CHAMPION, keys: SigningKeys = NONE
) -> Pointer | None:
    """Returns what an alias names now, or None if it names nothing.

    Raises:
        BadInput: the pointer is damaged, or not one that the keys let anybody act on.
    """
    found = pointers.standing(store, model, alias, keys)
    return found.move if found else None


def aliases(store: Store, model: str, keys: SigningKeys = NONE) -> dict[str, Pointer]:
    """Returns all aliases of a model, by name. Raises `BadInput` like `champion`."""
    keys_there = [PurePosixPath(key) for key in store.list(folder(model))]
    names = [key.stem for key in keys_there if len(key.parts) == 3 and key.suffix == ".json"]
    found = {name: champion(store, model, name, keys) for name in names}
    return {name: pointer for name, pointer in found.items() if pointer}


def named(store: Store, model: str) -> list[str]:
    """Returns the names of all aliases that have a pointer or moves that are written down."""
    parts = [PurePosixPath(key).parts for key in store.list(folder(model))]
    there = {part[2].removesuffix(".json") for part in parts if len(part) == 3}
    return sorted(there | {part[3] for part in parts if len(part) == 5 and part[2] == "moves"})


def point(store: Store, pointer: Pointer, expected: str | None, keys: SigningKeys = NONE) -> bool:
    """Moves an alias from version `expected` (None: it names nothing).

    Args:
        store: The store.
        pointer: What the alias shall be; its number and all that ties it to the move before are
            set here.
        expected: The version that the alias must still name.
        keys: With a private key the move is signed; with a public one the pointer that is there
            must be.

    Returns:
        Whether this call moved it.

    Raises:
        BadInput: the version is not complete in the store, or what the alias is now cannot be
            built on.
    """
    model, alias = pointer.model, pointer.alias
    if not store.exists(manifest_key(model, pointer.version)):
        raise BadInput(f"{model} has no version {pointer.version}; nothing was moved")
    current = pointers.standing(store, model, alias, keys)
    if _version(current) != expected:
        return False
    return _follow(store, pointer, current, keys)


def _follow(store: Store, pointer: Pointer, current: Document | None, keys: SigningKeys) -> bool:
    """Moves an alias on from `current`; returns whether this call did."""
    model, alias = pointer.model, pointer.alias
    keys.check_mover()
    last = _last(store, model, alias, current)
    if _has_gone_on(store, model, alias, last, current):
        return False
    place = {
        "number": last.move.number + 1 if last else 1,
        "previous": _version(last),
        "previous_sha256": last.sha256 if last else "",
    }
    content = pointers.sealed(store, pointer.model_copy(update=place), keys)
    if not store.swap(pointer_key(model, alias), content, current.tag if current else None):
        return False
    key = move_key(pointer.model_copy(update=place))
    store.put(key, content)
    if keys.state and keys.public:
        moved = Document(key, content, parse(content, Pointer, key))
        pointers.keep(store, keys, moved, recall(store, keys), moved.move.store)
    return True


def _last(store: Store, model: str, alias: str, current: Document | None) -> Document | None:
    """Returns the newest move, written down: of an alias whose pointer was taken away, too."""
    if current:
        return record(store, current)
    keys = list(recorded(store, model, alias).values())
    return pointers.written(store, keys[-1]) if keys else None


def _has_gone_on(
    store: Store, model: str, alias: str, last: Document | None, current: Document | None
) -> bool:
    """Returns whether others have moved an alias since it was read.

    Raises:
        BadInput: they have not, but its history goes on behind the move that made the pointer.
    """
    newest = max(recorded(store, model, alias), default=-1)
    if last is None or newest <= last.move.number:
        return False
    now = pointers.read(store, model, alias)
    if (now.tag if now else None) != (current.tag if current else None):
        return True
    raise BadInput(
        f"{pointer_key(model, alias)} is move {last.move.number}, but the history goes on to move "
        f"{newest}: an old pointer was put back, or a move was invented. Nothing was moved. If "
        f"move {newest} is true, copy {pointers.moves_key(model, alias)}/{newest:08}.json to the "
        "pointer; else remove the moves that are not true"
    )


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
    keys: SigningKeys = NONE,
) -> bool:
    """Makes an alias name a version; returns whether it does now.

    Nothing moves if it already did.

    Args:
        store: The store.
        model: The model's name.
        version: A complete version of it.
        alias: The alias.
        by: Who moves it: a person, or a run.
        reason: Why, for people.
        expected: Version that the alias must still name (None: nothing); `ANY` for whichever.
        rollback: Whether it is moved back.
        keys: With a private key the move is signed; with a public one the pointer that is there
            must be.

    Raises:
        BadInput: the version is not complete in the store, there is no reason, or what the alias is
            now cannot be built on.
        Unavailable: others moved the alias each time this call was about to.
    """
    reason = " ".join(reason.split())
    if not reason:
        raise BadInput("a move needs a reason, which stays in the history. Received: an empty one")
    for _ in range(ATTEMPTS):
        current = pointers.standing(store, model, alias, keys)
        if current and current.move.version == version:
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
            moved_at=_now(),
            by=by,
            reason=reason,
            rollback=rollback,
        )
        if point(store, pointer, pointer.previous, keys):
            log.info(
                'alias_moved model=%s alias=%s version=%s previous=%s by="%s" reason="%s"',
                *(model, alias, version, pointer.previous, by, reason),
            )
            return True
    raise Unavailable(f"{alias} of {model} moved {ATTEMPTS} times meanwhile")


def record(store: Store, pointer: Document) -> Document:
    """Writes the move that made a pointer into the history; returns it as it stands there.

    Raises:
        BadInput: another move stands there under its number.
    """
    key = move_key(pointer.move)
    if store.put(key, pointer.content):
        return pointer._replace(key=key)
    there = pointers.written(store, key)
    if not pointers.same(there, pointer):
        raise BadInput(
            f"{key} is not the move that made {pointer.key}, though it has its number. Nothing was "
            "moved. Find out which of them is true, and copy it to the other's place"
        )
    return there


def documents(
    store: Store, model: str, alias: str = CHAMPION, last: int | None = None
) -> list[Document]:
    """Returns the documents of the moves of an alias, newest first; the first is its pointer.

    Args:
        store: The store.
        model: The model's name.
        alias: The alias.
        last: How many of the newest; None for all.

    Raises:
        BadInput: a document of the history is damaged.
    """
    pointer = pointers.read(store, model, alias)
    if pointer is None:
        return []
    # Others may move on meanwhile: of their moves nothing is told, so that all fits together.
    there = recorded(store, model, alias)
    earlier = [key for number, key in there.items() if number < pointer.move.number][::-1]
    earlier = earlier if last is None else earlier[: last - 1]
    return [pointer, *(pointers.written(store, key) for key in earlier)]


def moves(store: Store, model: str, alias: str = CHAMPION) -> list[Move]:
    """Returns all moves of an alias, newest first; the first one is what it names now.

    Raises:
        BadInput: a document of the history is damaged.
    """
    return [Move(**item.move.model_dump()) for item in documents(store, model, alias)]


def before(history: list[Move]) -> str | None:
    """Returns the version that an alias named before the one it names now; None for none.

    A rollback does not count as having come from where it led away: asked again, it goes one
    version further back, and never returns to the one that was given up. Nor does a move that only
    signed what the alias named already.
    """
    here = [move for move in history if move.version == history[0].version != move.previous]
    came = next((move for move in here if not move.rollback), here[0] if here else None)
    return came.previous if came else None


def sign_history(store: Store, model: str, alias: str, by: str, keys: SigningKeys) -> str:
    """Signs what an alias names, and its history so far, by a move to the same version.

    The version is verified first. Look at the history before: whoever signs it vouches for it.

    Args:
        store: The store.
        model: The model's name.
        alias: An alias that names a version.
        by: Who signs.
        keys: The private key is used; with a public one the version must be signed.

    Returns:
        What was signed, for people; "" if all was signed already, or the alias names nothing.

    Raises:
        BadInput: the key cannot be used, the version is damaged or not signed, or the pointer is
            older than what was seen here.
        Unavailable: somebody moved the alias meanwhile.
    """
    public, memory, here = keys.own(), recall(store, keys), pointers.identity(store)
    history = documents(store, model, alias)
    if not any(pointers.unsigned(history, public, here)):
        return ""
    current, signed = history[0], pointers.digest_of(history)
    if problem := pointers.identity_problem(memory, here) or pointers.replay_problem(
        store, current, memory.of(keys)
    ):
        raise BadInput(problem)
    verify(store, model, current.move.version, keys)
    what = f"the history so far, up to move {current.move.number}, SHA-256 {signed}"
    pointer = Pointer(
        model=model,
        alias=alias,
        version=current.move.version,
        previous=current.move.version,
        moved_at=_now(),
        by=by,
        reason=f"signed {what}",
        history_sha256=signed,
    )
    if not _follow(store, pointer, current, keys):
        raise Unavailable(f"{alias} of {model} was moved meanwhile: look at it, and sign again")
    log.info("history_signed model=%s alias=%s moves=%d", model, alias, len(history))
    return f"version {current.move.version} and {what}"


def _version(document: Document | None) -> str | None:
    return document.move.version if document else None


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
