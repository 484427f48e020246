"""Documents of aliases and of their moves: how they are read, chained, signed and trusted.

```
models/<name>/<alias>.json                      the pointer: the document of the newest move
models/<name>/moves/<alias>/<number>.json       one document a move: the bytes that the pointer had
store.json                                      the name of the store, by which signatures tell it
```

Each document names the SHA-256 of the one before. With a key it is signed: its bytes, the
signature itself left empty. As these say which model, alias, number and store they are of, a
signature is worth nothing anywhere else. It stands in the document, so that a pointer moves with
its signature by one compare-and-swap.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from pydantic import Field

from skin_pipeline.contracts import Contract, Pointer, dump, parse
from skin_pipeline.errors import BadInput
from skin_pipeline.provenance import NONE, PUBLIC_KEY, SigningKeys, signing
from skin_pipeline.release import seen
from skin_pipeline.release.seen import Memory, Seen
from skin_pipeline.release.versions import folder
from skin_pipeline.storage import Store, digest

PATTERN = r"^[a-z0-9][a-z0-9-]{0,48}$"  # of an alias: that of a model's name
KIND = "pointer 1"  # of what is signed, and the version of how
IDENTITY = "store.json"


class Identity(Contract):
    """`store.json`: a random name, given to a store when something in it is first signed."""

    store: str = Field(pattern=r"^[0-9a-f]{32}$")


class Document(NamedTuple):
    """A move as it stands under a key; `tag` is that of a pointer's state, else empty."""

    key: str
    content: bytes
    move: Pointer
    tag: str = ""

    @property
    def sha256(self) -> str:
        """By which the next move names this one."""
        return digest(self.content)

    @property
    def called(self) -> str:
        """How messages call it."""
        move = self.move
        what = seen.told(move.number, move.version, move.moved_at)
        return f"{what} of {move.alias} of {move.model}"


# --- keys and reading ----------------------------------------------------------------------------


def pointer_key(model: str, alias: str) -> str:
    """Returns the key of a pointer. Raises `BadInput` if the alias is no name."""
    if not re.fullmatch(PATTERN, alias):
        raise BadInput(
            "an alias is a name of lower-case letters, digits and hyphens, such as canary, of at "
            f"most 49. Received: {alias!r}"
        )
    return f"{folder(model)}/{alias}.json"


def moves_key(model: str, alias: str) -> str:
    """Returns the key below which the moves of an alias are written down."""
    return f"{folder(model)}/moves/{alias}"


def move_key(pointer: Pointer) -> str:
    """Returns the key of the move that made a pointer."""
    return f"{moves_key(pointer.model, pointer.alias)}/{pointer.number:08}.json"


def number_of(key: str) -> int | None:
    """Returns the number of the move that is written down under a key; None if it is none."""
    name = PurePosixPath(key).stem
    fits = re.fullmatch(r"[0-9]{8,100}", name) and f"{int(name):08}" == name
    return int(name) if fits and key.endswith(".json") else None


def listed(store: Store, model: str, alias: str) -> list[str]:
    """Returns all keys among the moves of an alias."""
    return store.list(moves_key(model, alias))


def recorded(store: Store, model: str, alias: str) -> dict[int, str]:
    """Returns the keys of the moves that are written down by their numbers, oldest first."""
    numbered = ((number_of(key), key) for key in listed(store, model, alias))
    return dict(sorted((number, key) for number, key in numbered if number is not None))


def read(store: Store, model: str, alias: str) -> Document | None:
    """Returns an alias's pointer, be it trusted or not; None if the alias names nothing.

    Raises:
        BadInput: it is damaged, or belongs to another alias.
    """
    key = pointer_key(model, alias)
    found = store.tagged(key)
    if found is None:
        return None
    pointer = parse(found[0], Pointer, key)
    if (pointer.model, pointer.alias) != (model, alias):
        raise BadInput(f"{key} is damaged: it says {pointer.alias} of {pointer.model}")
    return Document(key, found[0], pointer, found[1])


def is_chained(move: Pointer) -> bool:
    """Returns whether a move was made since moves name the one before."""
    return bool(move.previous_sha256 or move.signature)


def same(one: Document, other: Document) -> bool:
    """Returns whether two documents are of one move: byte for byte, unless they are older than
    chains, and were written down by a version that knew more fields."""
    if one.content == other.content:
        return True
    return one.move == other.move and not is_chained(one.move)


def written(store: Store, key: str) -> Document:
    """Returns a move that is written down. Raises `BadInput` if it is not, or is damaged."""
    content = store.read(key)
    return Document(key, content, parse(content, Pointer, key))


def digest_of(history: Sequence[Document]) -> str:
    """Returns the SHA-256 of a whole history, newest first."""
    lines = [f"{document.move.number} {document.sha256}\n" for document in reversed(history)]
    return digest("".join(lines).encode())


# --- signatures ----------------------------------------------------------------------------------


def identity(store: Store) -> str:
    """Returns the name of a store; "" if nothing in it was ever signed."""
    found = store.tagged(IDENTITY)
    return parse(found[0], Identity, IDENTITY).store if found else ""


def sealed(store: Store, pointer: Pointer, keys: SigningKeys) -> bytes:
    """Returns the document of a pointer, signed if there is a private key.

    Raises:
        BadInput: the private key cannot be used.
    """
    if not keys.private:
        return dump(pointer)
    store.put(IDENTITY, dump(Identity(store=uuid.uuid4().hex)))  # unless it has a name
    pointer = pointer.model_copy(update={"store": identity(store), "signature": ""})
    signature = signing.sign_bytes(dump(pointer), KIND, keys)
    return dump(pointer.model_copy(update={"signature": signature}))


def signature_problem(document: Document, public: bytes, here: str) -> str:
    """Returns why a document is not trusted; "" if it is.

    Args:
        document: A pointer or a move.
        public: The trusted key, as PEM.
        here: The name of the store that it stands in.
    """
    signature = document.move.signature
    if not signature:
        return f"{document.called} is not signed, but {PUBLIC_KEY} is set"
    mark = signature.encode()
    once = document.content.count(mark) == 1
    unsigned = document.content.replace(mark, b"")
    if not once or not signing.signed_by(public, unsigned, KIND, signature):
        return (
            f"the signature of {document.called} is not right: it is by another key than "
            f"{PUBLIC_KEY}, or the document was changed"
        )
    if document.move.store != here:
        return (
            f"{document.called} was signed for the store {document.move.store}, and this is "
            f"{here or 'a store without a name'} ({IDENTITY})"
        )
    return ""


def unsigned(history: Sequence[Document], public: bytes, here: str) -> Iterator[str]:
    """Yields why moves of a history, newest first, are not trusted; none that a later move signs.

    Such a move is made by a person who looked at them, as `sign_history` does.
    """
    for document in history:
        problem = signature_problem(document, public, here)
        if problem:
            yield problem
        elif document.move.history_sha256:
            return


def advice(model: str) -> str:
    """Returns what to do about a pointer that is not signed as it must be."""
    return (
        f"Nothing was used or moved. Look at it (python -m skin_pipeline models show {model}); if "
        "it names what it should, sign it where the private key is: python -m skin_pipeline models "
        f"sign {model}"
    )


# --- trust ---------------------------------------------------------------------------------------


def standing(store: Store, model: str, alias: str, keys: SigningKeys = NONE) -> Document | None:
    """Returns an alias's pointer, as one that may be acted on; None if the alias names nothing.

    Without a public key that is any pointer. With one it must be signed by it, for this alias of
    this store, and must not be older than what was seen here; then it is remembered.

    Raises:
        BadInput: it is damaged, or cannot be trusted; says what to do.
    """
    trusted = keys.trusted()
    if trusted is None:
        return read(store, model, alias)
    memory = seen.recall(store, keys)  # before the pointer is read, which is then no older
    found = read(store, model, alias) or _absent(store, model, alias, keys, memory)
    if found is None:
        return None
    here = identity(store)  # which is written before the first pointer that is signed
    if problem := signature_problem(found, trusted, here):
        raise BadInput(f"{problem}. {advice(model)}")
    if problem := identity_problem(memory, here) or replay_problem(store, found, memory.of(keys)):
        raise BadInput(problem)
    keep(store, keys, found, memory, here)
    return found


def keep(store: Store, keys: SigningKeys, found: Document, memory: Memory, here: str) -> None:
    """Remembers a pointer that was seen, if it is newer than what the memory has."""
    name = seen.name_of(found.move.model, found.move.alias)
    known = memory.of(keys).get(name)
    if known is None or known.number < found.move.number:
        seen.remember(store, keys, name, seen.seen_now(found.move, found.sha256), here)


def _absent(
    store: Store, model: str, alias: str, keys: SigningKeys, memory: Memory
) -> Document | None:
    """Returns None if an alias may name nothing, which a first promotion takes for a licence."""
    problem = absence_problem(store, model, alias, memory.of(keys))
    found = read(store, model, alias) if problem else None
    if problem and found is None:  # else somebody has just made it
        raise BadInput(problem)
    return found


def absence_problem(store: Store, model: str, alias: str, known: dict[str, Seen]) -> str:
    """Returns why an alias that names nothing must have named something; "" if it need not."""
    if before := known.get(seen.name_of(model, alias)):
        return (
            f"{alias} of {model} names nothing, but {before} was seen here at {before.seen_at}: "
            f"its pointer was taken away. {_restored(model)}"
        )
    for key in recorded(store, model, alias).values():
        if written(store, key).move.signature:
            return (
                f"{alias} of {model} names nothing, but signed moves of it are written down: its "
                f"pointer was taken away. Copy the newest one below {moves_key(model, alias)} back "
                f"to {pointer_key(model, alias)}"
            )
    return ""


def identity_problem(memory: Memory, here: str) -> str:
    """Returns why a store is not the one that was seen in this place before; "" if it is."""
    if memory.store in {"", here}:
        return ""
    return (
        f"{memory.place} is another store than the one that was seen there: {IDENTITY} says "
        f"{here or 'nothing'}, and that one was {memory.store}. Put {IDENTITY} back. If another "
        "store was put there on purpose, accept it for each model: python -m skin_pipeline models "
        "verify MODEL --accept-older REASON"
    )


def replay_problem(store: Store, found: Document, known: dict[str, Seen]) -> str:
    """Returns how a pointer contradicts what was seen here; "" if it does not.

    A later pointer must lead back to the move that was seen, document by document.
    """
    move = found.move
    before = known.get(seen.name_of(move.model, move.alias))
    if before is None or before.sha256 == found.sha256:
        return ""
    if move.number < before.number:
        return (
            f"an old pointer was put back: the store has {found.called}, but {before} was seen "
            f"here at {before.seen_at}. This is no rollback, which is a move with a higher number. "
            f"{_restored(move.model)}"
        )
    if move.number == before.number:
        return (
            f"there are two moves under one number: the store has {found.called}, its SHA-256 is "
            f"{found.sha256}; seen here at {before.seen_at} was {before}, {before.sha256}. "
            f"{_restored(move.model)}"
        )
    return _broken_since(store, found, before)


def _broken_since(store: Store, later: Document, before: Seen) -> str:
    """Returns where a pointer does not lead back to an earlier move; "" if it does."""
    found = later
    while later.move.number > before.number:
        pointer = later.move.model_copy(update={"number": later.move.number - 1})
        key = move_key(pointer)
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
        "Somebody who can write to the store did this, or it was restored from a backup, or made "
        "anew. If that was on purpose, accept it here: python -m skin_pipeline models verify "
        f"{model} --accept-older REASON"
    )
