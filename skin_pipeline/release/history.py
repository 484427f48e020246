"""Verifies the history of an alias: finds gaps, forks, forged moves, old pointers put back.

    history.verify(Alias(store, "skin-resnet50", "champion", SigningKeys.of(deployment)))

Nothing here writes into the store. A store that was restored from a backup looks like one in which
an attacker put an old pointer back. Only a person knows which it is, and can accept it
(`accept_older`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from skin_pipeline.contracts import Release
from skin_pipeline.errors import BadInput
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import pointers, seen, trust, versions
from skin_pipeline.release.aliases import pointing
from skin_pipeline.release.pointers import Alias, Document, move_key, number_of
from skin_pipeline.release.seen import Accepted, Seen
from skin_pipeline.release.versions import Version
from skin_pipeline.storage import Store

# How a move is signed, in a word for people. `COVERED`: a later move signed the history up to it.
UNSIGNED, SIGNED, WRONG, COVERED, UNCHECKED = "no", "yes", "WRONG", "later", "not checked"


# --- verifying -----------------------------------------------------------------------------------


def verify(alias: Alias) -> Release:
    """Verifies the version that an alias names, and its history. Returns the version's manifest.

    If all is right, the newest move is remembered here, and an older one is refused from then on.

    Raises:
        BadInput: the alias names nothing, something is damaged, an old pointer was put back, or
            something is not signed as the keys require; names every problem.
    """
    memory = seen.recall(alias.store, alias.keys)
    release = _verified(alias, replayed=True)
    found = trust.pointer(alias)
    if found:
        # `trust.pointer` remembers signed pointers only. Without a key, it is remembered here.
        here = pointers.identity(alias.store) if alias.keys.public else ""
        trust.keep(alias, found, memory, here)
    return release


def _verified(alias: Alias, *, replayed: bool) -> Release:
    """Verifies an alias like `verify`; compares with what was seen here only if `replayed`."""
    pointer = alias.read()  # not `trust.pointer`, which would stop at the first problem
    found = problems(alias, replayed=replayed)
    if pointer is None:
        nothing = f"{alias.model} has no {alias.name}. {known_names(alias.store, alias.model)}"
        raise BadInput("; ".join(found) or nothing)
    try:
        release = Version(alias.store, alias.model, pointer.move.version, alias.keys).verify()
    except BadInput as error:
        raise BadInput("; ".join([*found, str(error)])) from None
    if found:
        raise BadInput(f"the history of {alias} is damaged: {'; '.join(found)}")
    return release


def known_names(store: Store, model: str) -> str:
    """Returns which versions and aliases there are, for a message."""
    numbered = ", ".join(versions.versions(store, model)) or "none"
    return f"Its versions: {numbered}; its aliases: {', '.join(pointing(store, model)) or 'none'}"


def accept_older(aliases: Sequence[Alias], *, by: str, reason: str) -> list[Accepted]:
    """Accepts the aliases of a store that was restored from a backup as they are now.

    Everything except their age is verified first. Nothing is written into the store: only this
    machine's memory changes, and it keeps the reason.

    Args:
        aliases: All of one store. One that names nothing any more is forgotten.
        by: Who accepts it.
        reason: Why.

    Returns:
        For each alias that is older now, what was seen of it and what it is now.

    Raises:
        BadInput: something other than the age is wrong, there is no reason, or no folder to
            remember it in.
    """
    store, keys = aliases[0].store, aliases[0].keys
    reason = " ".join(reason.split())
    if not reason or not keys.state:
        lacks = f"name a folder in {seen.SETTING}" if reason else "it needs a reason, which is kept"
        raise BadInput(f"nothing older was accepted: {lacks}")
    known, now = seen.recall(store, keys).of(keys), dict[str, Seen | None]()
    for alias in aliases:
        found = alias.read()
        if found:
            _verified(alias, replayed=False)
        if found is None:
            now[alias.remembered_as] = None
        elif trust.replay_problem(alias, found, known):
            now[alias.remembered_as] = seen.seen_now(found.move, found.sha256)
    here = pointers.identity(store)
    return seen.accept(store, keys, now, identity=here, by=by, reason=reason)


# --- problems ------------------------------------------------------------------------------------


def problems(alias: Alias, *, replayed: bool = True) -> list[str]:
    """Returns what does not fit together in an alias's history, or is not signed as it must be.

    Args:
        alias: Its keys say whether all moves must be signed.
        replayed: Whether to compare with what was seen here.

    Raises:
        BadInput: the pointer or a document of the history is damaged.
    """
    return examined(alias, replayed=replayed)[1]


def examined(alias: Alias, *, replayed: bool = True) -> tuple[list[Document], list[str]]:
    """Returns the history of an alias, newest first, and its `problems`, from one reading."""
    # The memory before the history, and the pointer last: what is read later is never older.
    memory = seen.recall(alias.store, alias.keys)
    known = memory.of(alias.keys) if replayed else {}
    listed = alias.listed()
    history, here = alias.documents(), pointers.identity(alias.store)
    if not history:
        absence = trust.absence_problem(alias, known)
        return [], [absence] if absence else [_lost(alias, key) for key in listed[-1:]]
    newest = history[0]
    found = [*_intruders(listed, newest), *_breaks(history), *_newest(alias.store, newest)]
    if trusted := alias.keys.trusted():
        found += _unsigned(history, trusted, here)
    if replayed:
        found.append(trust.identity_problem(memory, here) if alias.keys.public else "")
        found.append(trust.replay_problem(alias, newest, known))
    return history, [problem for problem in found if problem]


def _unsigned(history: list[Document], trusted: bytes, here: str) -> list[str]:
    """Returns which moves are not signed as they must be, and what to do."""
    found = list(pointers.unsigned(history, trusted, here))
    return [*found[:-1], f"{found[-1]}. {trust.advice(history[0].move.model)}"] if found else []


def _lost(alias: Alias, key: str) -> str:
    return (
        f"{key} is a move of an alias that names nothing. Copy it to {alias.key}; or remove "
        f"{alias.moves_key}, if the alias was taken away on purpose"
    )


def _intruders(listed: list[str], pointer: Document) -> Iterator[str]:
    """Yields which keys among the moves are no moves, or are later than the pointer."""
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
    """Yields where a history, newest first, does not lead from one move to the next."""
    yield from map(_misplaced, history[1:])
    for later, earlier in pairwise(history):
        yield _break(later, earlier)
    for index, document in enumerate(history):
        said = document.move.history_sha256
        if said and said != pointers.digest_of(history[index + 1 :]):
            yield f"the moves before {document.move.number} are not those that it signed"
    if history[-1].move.number > 1 or history[-1].move.previous_sha256:
        yield f"the moves before number {history[-1].move.number} are missing"


def _misplaced(document: Document) -> str:
    """Returns that a document belongs to another key than its own; "" if it does not."""
    if move_key(document.move) == document.key:
        return ""
    return f"{document.key} is not what it says: {document.called}"


def _break(later: Document, earlier: Document) -> str:
    """Returns why a move does not follow the one before; "" if it does."""
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
    """Yields that the history has another move under the pointer's number, if it has.

    That it has none is no problem: the process that moved the pointer was killed before it wrote
    the move into the history.
    """
    key = move_key(pointer.move)
    if store.exists(key) and not pointers.same(pointers.written(store, key), pointer):
        yield f"{key} is not the move that the pointer made"


# --- words about signatures ----------------------------------------------------------------------


def signatures(store: Store, history: Sequence[Document], keys: SigningKeys) -> list[str]:
    """Returns in a word for people how each move of a history is signed, newest first."""
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
    """Returns whether the newest move is in the history; if not, the next move writes it there."""
    return store.exists(move_key(newest.move))
