"""The documents of aliases and of their moves: how they are read, chained and signed.

```
models/<name>/<alias>.json                      the pointer: the document of the newest move
models/<name>/moves/<alias>/<number>.json       a document for each move: the pointer's bytes then
store.json                                      the name of the store, which signatures contain
```

Each document contains the SHA-256 of the one before. With a private key it is signed: the signature
is that of the document's bytes with its own field left empty. They name the model, alias, number
and store, so the signature is not valid for any other. It is inside the document, not beside it,
so that one compare-and-swap moves both.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple, TypeVar

from pydantic import Field

from skin_pipeline.contracts import Approval, Contract, Pointer, SiteProfile, dump, parse
from skin_pipeline.errors import BadInput
from skin_pipeline.provenance import PUBLIC_KEY, SigningKeys, signing
from skin_pipeline.release import seen
from skin_pipeline.release.versions import folder
from skin_pipeline.storage import Store, digest

ALIAS_PATTERN = r"^[a-z0-9][a-z0-9-]{0,48}$"  # that of a model's name
KIND = "pointer 1"  # what is signed, and the version of the way it is signed
IDENTITY = "store.json"
# Documents that contain their own signature.
Signed = TypeVar("Signed", Pointer, Approval, SiteProfile)


class Identity(Contract):
    """`store.json`: a random name, given to a store when something in it is first signed."""

    store: str = Field(pattern=r"^[0-9a-f]{32}$")


class Document(NamedTuple):
    """A move, as it is written under a key: a pointer, or a document of the history.

    `tag` is the state of a pointer, for compare-and-swap. It is empty for a document of the
    history, because such a document is never replaced.
    """

    key: str
    content: bytes
    move: Pointer
    tag: str = ""

    @property
    def sha256(self) -> str:
        """The digest by which the next move names this one."""
        return digest(self.content)

    @property
    def called(self) -> str:
        """The move's name in messages: number, version, time, alias and model."""
        move = self.move
        what = seen.told(move.number, move.version, move.moved_at)
        return f"{what} of {move.alias} of {move.model}"


# --- an alias and its documents ------------------------------------------------------------------


@dataclass(frozen=True)
class Alias:
    """An alias of a model in a store, and the keys by which its pointer is signed and trusted."""

    store: Store
    model: str
    name: str
    keys: SigningKeys

    def __str__(self) -> str:
        """For messages: `champion of skin-resnet50`."""
        return f"{self.name} of {self.model}"

    @property
    def key(self) -> str:
        """The key of the pointer. Raises `BadInput` if the alias has no valid name."""
        if not re.fullmatch(ALIAS_PATTERN, self.name):
            raise BadInput(
                "an alias is a name of lower-case letters, digits and hyphens, such as canary, of "
                f"at most 49. Received: {self.name!r}"
            )
        return f"{folder(self.model)}/{self.name}.json"

    @property
    def moves_key(self) -> str:
        """The key below which the history is."""
        return f"{folder(self.model)}/moves/{self.name}"

    @property
    def remembered_as(self) -> str:
        """The name under which this process remembers the alias; see `seen`."""
        return seen.name_of(self.model, self.name)

    def listed(self) -> list[str]:
        """Returns all keys below `moves_key`, also those of what is no move."""
        return self.store.list(self.moves_key)

    def recorded(self) -> dict[int, str]:
        """Returns the keys of the moves in the history by their numbers, oldest first."""
        numbered = ((number_of(key), key) for key in self.listed())
        return dict(sorted((number, key) for number, key in numbered if number is not None))

    def read(self) -> Document | None:
        """Returns the pointer, trusted or not; None if the alias names nothing.

        Raises:
            BadInput: it is damaged, or belongs to another alias.
        """
        found = self.store.tagged(self.key)
        if found is None:
            return None
        pointer = parse(found[0], Pointer, self.key)
        if (pointer.model, pointer.alias) != (self.model, self.name):
            raise BadInput(f"{self.key} is damaged: it says {pointer.alias} of {pointer.model}")
        return Document(self.key, found[0], pointer, found[1])

    def documents(self, last: int | None = None) -> list[Document]:
        """Returns the moves, trusted or not, newest first; the first is the pointer.

        Args:
            last: How many of the newest; None for all.

        Raises:
            BadInput: a document of the history is damaged.
        """
        pointer = self.read()
        if pointer is None:
            return []
        # Another process may move the alias meanwhile. Later moves than the pointer are left out.
        there = self.recorded()
        earlier = [key for number, key in there.items() if number < pointer.move.number][::-1]
        earlier = earlier if last is None else earlier[: last - 1]
        return [pointer, *(written(self.store, key) for key in earlier)]


def move_key(pointer: Pointer) -> str:
    """Returns the key in the history of the move that made a pointer."""
    return f"{folder(pointer.model)}/moves/{pointer.alias}/{pointer.number:08}.json"


def number_of(key: str) -> int | None:
    """Returns the number of the move under a key; None if no move has such a key."""
    name = PurePosixPath(key).stem
    fits = re.fullmatch(r"[0-9]{8,100}", name) and f"{int(name):08}" == name
    return int(name) if fits and key.endswith(".json") else None


def is_chained(move: Pointer) -> bool:
    """Returns whether a move names the one before it; the moves of old stores do not."""
    return bool(move.previous_sha256 or move.signature)


def same(one: Document, other: Document) -> bool:
    """Returns whether two documents are of one move.

    Chained documents must be equal byte for byte. Of older ones the fields must be equal: newer
    code may have written the move into the history, with more fields than the pointer had.
    """
    if one.content == other.content:
        return True
    return one.move == other.move and not is_chained(one.move)


def written(store: Store, key: str) -> Document:
    """Returns a document of the history. Raises `BadInput` if it is missing or damaged."""
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


def sealed(store: Store, document: Signed, keys: SigningKeys, kind: str = KIND) -> bytes:
    """Returns a document that contains its signature, signed if there is a private key.

    Args:
        store: The store that it is for.
        document: A pointer, an approval, or a profile of a site.
        keys: Those with the private key, if there is one.
        kind: What is signed; see `signing.sign_bytes`.

    Raises:
        BadInput: the private key cannot be used.
    """
    if not keys.private:
        return dump(document)
    store.put(IDENTITY, dump(Identity(store=uuid.uuid4().hex)))  # keeps a name that is there
    document = document.model_copy(update={"store": identity(store), "signature": ""})
    signature = signing.sign_bytes(dump(document), kind, keys)
    return dump(document.model_copy(update={"signature": signature}))


def signature_problem(document: Document, public: bytes, here: str) -> str:
    """Returns why a document is not trusted; "" if it is.

    Args:
        document: A pointer or a move.
        public: The trusted key, as PEM.
        here: The name of the store that contains it.
    """
    return seal_problem(document.called, document.content, document.move, KIND, public, here)


def seal_problem(
    called: str, content: bytes, document: Signed, kind: str, public: bytes, here: str
) -> str:
    """Returns why a document that contains its signature is not trusted; "" if it is.

    Args:
        called: Its name in messages.
        content: Its bytes.
        document: What they say.
        kind: What it was signed as.
        public: The trusted key, as PEM.
        here: The name of the store that contains it.
    """
    signature = document.signature
    if not signature:
        return f"{called} is not signed, but {PUBLIC_KEY} is set"
    # What was signed is the document without its signature. A second copy of it, in another field,
    # would be taken out as well, so that field could say anything: it is refused.
    mark = signature.encode()
    once = content.count(mark) == 1
    if not once or not signing.signed_by(public, content.replace(mark, b""), kind, signature):
        return (
            f"the signature of {called} is not right: it is by another key than "
            f"{PUBLIC_KEY}, or the document was changed"
        )
    if document.store != here:
        return (
            f"{called} was signed for the store {document.store}, and this is "
            f"{here or 'a store without a name'} ({IDENTITY})"
        )
    return ""


def unsigned(history: Sequence[Document], public: bytes, here: str) -> Iterator[str]:
    """Yields why moves of a history, newest first, are not trusted.

    It stops at a signed move that contains the digest of all moves before it (`sign_history` makes
    it): a person has vouched for these, so they need no signatures of their own.
    """
    for document in history:
        problem = signature_problem(document, public, here)
        if problem:
            yield problem
        elif document.move.history_sha256:
            return
