"""Whether a pointer may be used: signed by the trusted key, and no older than what was seen here.

All code that acts on a pointer gets it from `pointer`: promotion, rollback, pruning, prediction.
"""

from __future__ import annotations

from skin_pipeline.contracts import Pointer, parse
from skin_pipeline.errors import BadInput
from skin_pipeline.release import pointers, seen
from skin_pipeline.release.pointers import Alias, Document
from skin_pipeline.release.seen import Memory, Seen
from skin_pipeline.storage import Store, digest


def pointer(alias: Alias) -> Document | None:
    """Returns an alias's pointer if it may be used; None if the alias names nothing.

    Without a public key every pointer may be used. With one, the pointer must be signed by that key
    for this alias in this store, and must not be older than what was seen here. It is then
    remembered.

    Raises:
        BadInput: it is damaged, or not trusted; the message says what to do.
    """
    trusted = alias.keys.trusted()
    if trusted is None:
        return alias.read()
    # The memory is read before the pointer: a move that another process makes and remembers in
    # between cannot make this pointer look old.
    memory = seen.recall(alias.store, alias.keys)
    found = alias.read() or _absent(alias, memory)
    if found is None:
        return None
    # The name is read after the pointer: a store gets its name before its first pointer is signed.
    here = pointers.identity(alias.store)
    if problem := pointers.signature_problem(found, trusted, here):
        raise BadInput(f"{problem}. {advice(alias.model)}")
    if problem := identity_problem(memory, here) or replay_problem(
        alias, found, memory.of(alias.keys)
    ):
        raise BadInput(problem)
    keep(alias, found, memory, here)
    return found


def keep(alias: Alias, found: Document, memory: Memory, here: str) -> None:
    """Remembers a pointer that was seen, if it is newer than what the memory has."""
    known = memory.of(alias.keys).get(alias.remembered_as)
    if known is None or known.number < found.move.number:
        now = seen.seen_now(found.move, found.sha256)
        seen.remember(alias.store, alias.keys, alias.remembered_as, now, here)


def _absent(alias: Alias, memory: Memory) -> Document | None:
    """Returns None for an alias that has never named anything; raises `BadInput` for others.

    An alias without a pointer may be moved to any version, as by the first promotion. An attacker
    who removes a pointer must not get that, so it is refused if the pointer was seen here before or
    has signed moves.
    """
    problem = absence_problem(alias, memory.of(alias.keys))
    found = alias.read() if problem else None
    if problem and found is None:  # if it is there now, another process has just made it
        raise BadInput(problem)
    return found


def absence_problem(alias: Alias, known: dict[str, Seen]) -> str:
    """Returns why an alias without a pointer must have had one; "" if it may never have had one."""
    if before := known.get(alias.remembered_as):
        return (
            f"{alias} names nothing, but {before} was seen here at {before.seen_at}: its pointer "
            f"was taken away. {_restored(alias.model)}"
        )
    for key in alias.recorded().values():
        if pointers.written(alias.store, key).move.signature:
            return (
                f"{alias} names nothing, but its history has signed moves: its pointer was "
                f"taken away. Copy the newest one below {alias.moves_key} back to {alias.key}"
            )
    return ""


def identity_problem(memory: Memory, here: str) -> str:
    """Returns why a store is not the one that was seen at this address before; "" if it is."""
    if memory.store in {"", here}:
        return ""
    name = pointers.IDENTITY
    return (
        f"{memory.place} is another store than the one that was seen there: {name} says "
        f"{here or 'nothing'}, and that one was {memory.store}. Put {name} back. If another "
        "store was put there on purpose, accept it for each model: python -m skin_pipeline models "
        "verify MODEL --accept-older REASON"
    )


def replay_problem(alias: Alias, found: Document, known: dict[str, Seen]) -> str:
    """Returns how a pointer contradicts what was seen here; "" if it does not.

    A later pointer must lead back to the move that was seen, document by document: a higher number
    alone proves nothing.
    """
    move = found.move
    before = known.get(alias.remembered_as)
    if before is None or before.sha256 == found.sha256:
        return ""
    if move.number < before.number:
        return (
            f"an old pointer was put back: the store has {found.called}, but {before} was seen "
            f"here at {before.seen_at}. This is no rollback, which is a move with a higher number. "
            f"{_restored(alias.model)}"
        )
    if move.number == before.number:
        return (
            f"there are two moves under one number: the store has {found.called}, its SHA-256 is "
            f"{found.sha256}; seen here at {before.seen_at} was {before}, {before.sha256}. "
            f"{_restored(alias.model)}"
        )
    return _broken_since(alias.store, found, before)


def _broken_since(store: Store, later: Document, before: Seen) -> str:
    """Returns where a pointer does not lead back to an earlier move; "" if it does."""
    found = later
    # Back from the newest move, each time to the one whose digest the later one contains.
    while later.move.number > before.number:
        pointer = later.move.model_copy(update={"number": later.move.number - 1})
        key = pointers.move_key(pointer)
        content = store.tagged(key)
        if content is None or digest(content[0]) != later.move.previous_sha256:
            what = "is missing" if content is None else f"is not what move {later.move.number} says"
            return (
                f"{found.called} does not lead back to {before}, which was seen here: {key} {what}"
            )
        later = Document(key, content[0], parse(content[0], Pointer, key))
    if later.sha256 == before.sha256:
        return ""
    return (
        f"{found.called} does not lead back to what was seen here at {before.seen_at}: move "
        f"{before.number} had the SHA-256 {before.sha256}, {later.key} has {later.sha256}. "
        f"{_restored(found.move.model)}"
    )


def _restored(model: str) -> str:
    return (
        "A person who can write to the store did this, or it was restored from a backup, or made "
        "anew. If that was on purpose, accept it here: python -m skin_pipeline models verify "
        f"{model} --accept-older REASON"
    )


def advice(model: str) -> str:
    """Returns what to do about a pointer that is not signed as it must be."""
    return (
        f"Nothing was used or moved. Look at it (python -m skin_pipeline models show {model}); if "
        "it names what it should, sign it where the private key is: python -m skin_pipeline models "
        f"sign {model}"
    )
