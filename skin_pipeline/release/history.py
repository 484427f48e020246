"""What was done to the history of an alias: gaps, forks, forged moves, old pointers put back.

Nothing here writes into the store.

    history.problems(store, "skin-resnet50", "champion", Keys.of(deployment()))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from skin_pipeline.provenance import NONE, SigningKeys
from skin_pipeline.release import pointers
from skin_pipeline.release.aliases import CHAMPION, documents
from skin_pipeline.release.pointers import Document, move_key, moves_key, number_of, pointer_key
from skin_pipeline.release.seen import recall
from skin_pipeline.storage import Store

UNSIGNED, SIGNED, WRONG, COVERED, UNCHECKED = "no", "yes", "WRONG", "later", "not checked"


def problems(
    store: Store,
    model: str,
    alias: str = CHAMPION,
    keys: SigningKeys = NONE,
    *,
    replayed: bool = True,
) -> list[str]:
    """Returns what does not fit together in an alias's history, or is not signed as it must be.

    Args:
        store: The store.
        model: The model's name.
        alias: The alias.
        keys: Whether all moves must be signed, and what was seen here.
        replayed: Whether to compare with what was seen here.

    Raises:
        BadInput: the pointer or a document of the history is damaged.
    """
    return examined(store, model, alias, keys, replayed=replayed)[1]


def examined(
    store: Store,
    model: str,
    alias: str = CHAMPION,
    keys: SigningKeys = NONE,
    *,
    replayed: bool = True,
) -> tuple[list[Document], list[str]]:
    """Returns the history of an alias, newest first, and its `problems`: both of the same bytes."""
    memory = recall(store, keys)  # before the history, and the pointer last: none is behind it
    known = memory.of(keys) if replayed else {}
    listed = pointers.listed(store, model, alias)
    history, here = documents(store, model, alias), pointers.identity(store)
    if not history:
        absence = pointers.absence_problem(store, model, alias, known)
        return [], [absence] if absence else [_lost(model, alias, key) for key in listed[-1:]]
    found = [*_intruders(listed, history[0]), *_breaks(history), *_newest(store, history[0])]
    if trusted := keys.trusted():
        found += _unsigned(history, trusted, here)
    if replayed:
        found.append(pointers.identity_problem(memory, here) if keys.public else "")
        found.append(pointers.replay_problem(store, history[0], known))
    return history, [problem for problem in found if problem]


def _unsigned(history: list[Document], trusted: bytes, here: str) -> list[str]:
    """Which moves are not signed as they must be, and what to do."""
    found = list(pointers.unsigned(history, trusted, here))
    return [*found[:-1], f"{found[-1]}. {pointers.advice(history[0].move.model)}"] if found else []


def signatures(store: Store, history: Sequence[Document], keys: SigningKeys) -> list[str]:
    """Returns a word about the signature of each move of a history, newest first."""
    trusted, here = keys.trusted(), pointers.identity(store)
    words, covered = [], False
    for document in history:
        word = COVERED if covered else _signature(document, trusted, here)
        covered = covered or (word == SIGNED and bool(document.move.history_sha256))
        words.append(word)
    return words


def _signature(document: Document, trusted: bytes | None, here: str) -> str:
    if not document.move.signature:
        return UNSIGNED
    if trusted is None:
        return UNCHECKED
    return WRONG if pointers.signature_problem(document, trusted, here) else SIGNED


def is_written_down(store: Store, newest: Document) -> bool:
    """Returns whether the newest move is in the history; the next mover writes it there."""
    return store.exists(move_key(newest.move))


def _lost(model: str, alias: str, key: str) -> str:
    return (
        f"{key} is a move of an alias that names nothing. Copy it to {pointer_key(model, alias)}; "
        f"or remove {moves_key(model, alias)}, if the alias was taken away on purpose"
    )


def _intruders(listed: list[str], pointer: Document) -> Iterator[str]:
    """What lies among the moves and is none that led to the pointer."""
    for key in listed:
        number = number_of(key)
        if number is None:
            yield f"{key} is no move: none has such a name"
        elif number > pointer.move.number:
            yield (
                f"{key} is a move that the pointer did not make: it is move {pointer.move.number}. "
                "An old pointer was put back, or the move was invented"
            )


def _breaks(history: list[Document]) -> Iterator[str]:
    """Where a history, newest first, does not lead from one move to the next."""
    yield from map(_misplaced, history[1:])
    for later, earlier in pairwise(history):
        yield _break(later, earlier)
    for place, document in enumerate(history):
        said = document.move.history_sha256
        if said and said != pointers.digest_of(history[place + 1 :]):
            yield f"the moves before {document.move.number} are not those that it signed"
    if history[-1].move.number > 1 or history[-1].move.previous_sha256:
        yield f"the moves before number {history[-1].move.number} are missing"


def _misplaced(document: Document) -> str:
    """That a document of the history says it is another move, if it does."""
    if move_key(document.move) == document.key:
        return ""
    return f"{document.key} is not what it says: {document.called}"


def _break(later: Document, earlier: Document) -> str:
    """Why a move does not follow the one before, if it does not."""
    after, move = later.move, earlier.move
    if after.number != move.number + 1:
        return f"the moves between numbers {move.number} and {after.number} are missing"
    if after.previous != move.version:
        return (
            f"move {after.number} led away from {after.previous}, but the one before to "
            f"{move.version}"
        )
    if after.previous_sha256 not in {"", earlier.sha256}:
        return (
            f"{earlier.key} is not the move that number {after.number} followed: its SHA-256 is "
            f"{earlier.sha256}, and that was {after.previous_sha256}"
        )
    if not after.previous_sha256 and (pointers.is_chained(after) or pointers.is_chained(move)):
        return f"move {after.number} does not say which move it followed, as later ones must"
    return ""


def _newest(store: Store, pointer: Document) -> Iterator[str]:
    """That the move with the pointer's number is another one, if it is."""
    key = move_key(pointer.move)
    if store.exists(key) and not pointers.same(pointers.written(store, key), pointer):
        yield f"{key} is not the move that the pointer made"
