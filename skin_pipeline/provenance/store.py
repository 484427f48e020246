"""What each result is made of and made from, written beside it and checked by whoever reads it.

```
<key>/result.json
<key>/proofs/of_<SHA-256 of result.json>.json     a `Proof`, written before the result
signatures/<key pair>/<SHA-256 of a statement>    its signature, if there is a key to sign with
```

A `Job` has a `ProvenStore`. Steps read and write it like any other store: while a result is made,
it notes what is written and which results are read; whatever is read is compared with the proof.
So nobody can exchange a file or a result between two steps without being noticed, and nobody
without the private key can write a proof that a step with this key accepts.
"""

from __future__ import annotations

import json
import logging
import tempfile
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from skin_pipeline.contracts import COST, RESULT, Proof, address, dump, parse
from skin_pipeline.errors import BadInput
from skin_pipeline.provenance.signing import SIGNING_KEY, SigningKeys, Stamper
from skin_pipeline.storage import KeyList, Store, copied, digest, digest_file, digest_of

log = logging.getLogger(__name__)

STEPS = (
    *("ingest", "validate", "split", "features", "train", "evaluate", "champion", "external"),
    "gate",
)
PROOFS, CHECKPOINTS = "proofs", "checkpoints"
OF = "of_"  # before a digest in a name, where it is not that of the object itself
SIGNATURES, ACTIVATIONS = "signatures", "activations"
AGAIN = "again_"  # begins the name of a second place for the files of a result
PROOF, OBJECT = "proof of a result", "object"  # what a signature is for


class Proven(NamedTuple):
    """A result's proof as it was checked. Without a proof, `digest` is empty."""

    proof: Proof | None
    digest: str


class TakenError(Exception):
    """There is a file already where a step wants to write another one."""


@dataclass
class Record:
    """What a step has written below `place` and read while it makes the result `key`."""

    key: str
    place: str
    files: dict[str, str] = field(default_factory=dict)
    made_from: dict[str, str] = field(default_factory=dict)
    copies: tempfile.TemporaryDirectory[str] | None = None

    def proof(self, inputs: Mapping[str, Any], result: bytes) -> Proof:
        """The proof of the result that was made."""
        return Proof(
            key=self.key,
            inputs=dict(inputs),
            result=digest(result),
            files=dict(sorted(self.files.items())),
            made_from=dict(sorted(self.made_from.items())),
        )


# Of the result that is being made: steps make one within another (features for a champion).
_RECORD: ContextVar[Record | None] = ContextVar("record", default=None)


def owner_of(key: str) -> str:
    """The key of the result that an object belongs to; empty if it belongs to none."""
    parts = key.split("/")
    return "/".join(parts[:2]) if parts[0] in STEPS and len(parts) > 2 else ""


class ProvenStore:
    """A store whose results are proven when they are read; a `storage.Store`.

    Args:
        inner: The store.
        keys: With a private one, what steps write is signed, and what they read must be.
    """

    def __init__(self, inner: Store, keys: SigningKeys) -> None:
        self.inner, self.keys, self.url = inner, keys, inner.url
        self._stamper: Stamper | None = None
        self._known: dict[str, tuple[str, Proven]] = {}  # a result's document and proof
        self._copies: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    def of(cls, store: Store, keys: SigningKeys) -> ProvenStore:
        """The store, proven with these keys and no others."""
        return cls(store.inner if isinstance(store, ProvenStore) else store, keys)

    def __repr__(self) -> str:
        return f"ProvenStore({self.inner!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ProvenStore) and (self.inner, self.keys) == (
            other.inner,
            other.keys,
        )

    def __hash__(self) -> int:
        return hash((ProvenStore, self.inner))

    def __getattr__(self, name: str) -> Any:
        """What the store has beside that, such as a folder's path; nothing of it is proven."""
        if name == "inner":  # of an object that is being copied
            raise AttributeError(name)
        return getattr(self.inner, name)

    # --- what every store does -------------------------------------------------------------------

    def exists(self, key: str) -> bool:
        """See `Store`."""
        return self.inner.exists(key)

    def list(self, prefix: str) -> KeyList:
        """See `Store`."""
        return self.inner.list(prefix)

    def tagged(self, key: str) -> tuple[bytes, str] | None:
        """See `Store`; for pointers, which are not proven here."""
        return self.inner.tagged(key)

    def swap(self, key: str, data: bytes, tag: str | None) -> bool:
        """See `Store`."""
        return self.inner.swap(key, data, tag)

    def remove(self, key: str) -> None:
        """See `Store`."""
        self.inner.remove(key)

    def link(self, key: str) -> str:
        """See `Store`."""
        return self.inner.link(key)

    def put(self, key: str, data: bytes) -> bool:
        """See `Store`; of a result that is being made, the digest is noted."""
        written = self.inner.put(key, data)
        self._note(key, digest(data), written=written)
        return written

    def put_file(self, key: str, path: Path) -> bool:
        """See `put`."""
        record = _RECORD.get()
        signed = bool(self.keys.private) and _is_signed_alone(key)
        ours = record is not None and key.startswith(f"{record.place}/")
        found = digest_file(path) if signed or ours else ""
        if signed:  # first, so that there is none without
            self._stamp(OBJECT, key, found)
        written = self.inner.put_file(key, path)
        self._note(key, found, written=written)
        return written

    def read(self, key: str) -> bytes:
        """See `Store`.

        Raises:
            BadInput: It is not what its step wrote, or not signed as the keys ask for.
        """
        data = self.inner.read(key)
        if owner := owner_of(key):
            self._check(owner, key, data)
        return data

    def local(self, key: str, *, fresh: bool = False) -> Path:
        """See `Store`. A file of a result is a copy that nobody else can change.

        Raises:
            BadInput: See `read`.
        """
        if self.keys.private and _is_signed_alone(key):
            return self._signed_alone(key, fresh=fresh)
        expected = self.digest_of(key) if owner_of(key) else ""
        if not expected:
            return self.inner.local(key, fresh=fresh)
        copy = self._folder() / uuid.uuid4().hex
        copied(self.inner, key, copy, expected)
        return copy

    @contextmanager
    def opened(self, key: str) -> Generator[BinaryIO, None, None]:
        """See `Store`. A file of a result is a copy that nobody else can change; activations, which
        may be too large for a copy, are compared with their signature where they lie.

        Raises:
            BadInput: See `read`.
        """
        alone = bool(self.keys.private) and _is_signed_alone(key)
        if owner_of(key) and (alone or self.digest_of(key)):
            with self.local(key).open("rb") as file:
                yield file
            return
        with self.inner.opened(key) as file:
            if alone:
                self._check_stamp(key, OBJECT, key, digest_of(file))
            yield file

    # --- while a result is made ------------------------------------------------------------------

    @property
    def signed_by(self) -> dict[str, str]:
        """What is part of the address of all that is signed, so that it is never mixed with what
        is not: the fingerprint of the key; nothing if there is none."""
        return {"signed_by": self.stamper.own} if self.keys.private else {}

    @property
    def stamper(self) -> Stamper:
        """Signs and checks with the keys, which are read from their files once."""
        if self._stamper is None:
            self._stamper = Stamper.of(self.keys)
        return self._stamper

    def place_for(self, key: str) -> str:
        """Where the files of a result go that is about to be made: below its key, unless something
        lies there, left by a try that was killed or by somebody else. It is never adopted."""
        kept = (f"{key}/{CHECKPOINTS}/", f"{key}/{PROOFS}/")
        left = [item for item in self.inner.list(key) if not item.startswith(kept)]
        return another_place(key) if left else key

    @contextmanager
    def recording(self, key: str, place: str) -> Generator[Record, None, None]:
        """Note what is written and read during the block."""
        record = Record(key, place)
        token = _RECORD.set(record)
        try:
            yield record
        finally:
            _RECORD.reset(token)
            if record.copies:
                record.copies.cleanup()

    def keep(self, proof: Proof, result: bytes) -> None:
        """Write a result with its proof before it, and its signature, if there is a key."""
        data, key = dump(proof), _proof_key(proof.key, proof.result)
        if self.keys.private:
            self._stamp(PROOF, key, digest(data))
        self.inner.put(key, data)
        self.inner.put(f"{proof.key}/{RESULT}", result)
        self.prove(proof.key)  # somebody else's may stand there, if it was made at the same time

    def _note(self, key: str, found: str, *, written: bool) -> None:
        record = _RECORD.get()
        if record is None or not key.startswith(f"{record.place}/") or not _is_proven(key):
            return
        if not written and record.files.get(key) != found and self._digest(key) != found:
            raise TakenError(key)
        record.files[key] = found

    # --- what is read ----------------------------------------------------------------------------

    def prove(self, key: str) -> Proven:
        """A result's proof, checked together with its document.

        Raises:
            BadInput: the document is not what its step wrote, or not signed as the keys ask for.
        """
        return self._proven(key, self.inner.read(f"{key}/{RESULT}"))

    def digest_of(self, key: str) -> str:
        """The SHA-256 that the document or a file of a result must have; "" if none is known.

        Raises:
            BadInput: its step did not write it.
        """
        owner = owner_of(key)
        if not owner:
            raise BadInput(f"{key!r} is no file of a result. Find out who changed what names it")
        if key != f"{owner}/{RESULT}":
            return self._expected(owner, key) or ""
        proof = self.prove(owner).proof
        return proof.result if proof else ""

    def check_file(self, key: str) -> str:
        """Compare a file of a result with its proof; its SHA-256, or "" if nothing is known.

        Raises:
            BadInput: it is another one.
        """
        expected = self._expected(owner_of(key), key)
        if expected is not None:
            self._compare(key, digest_file(self.inner.local(key)), expected)
        return expected or ""

    def _check(self, owner: str, key: str, data: bytes) -> None:
        if key == f"{owner}/{RESULT}":
            proven = self._proven(owner, data)
            record = _RECORD.get()
            if record and record.made_from.setdefault(owner, proven.digest) != proven.digest:
                raise self._refusal(owner, f"{key} was exchanged while it was read")
        elif (expected := self._expected(owner, key)) is not None:
            self._compare(key, digest(data), expected)

    def _expected(self, owner: str, key: str) -> str | None:
        """The SHA-256 that a file of a result must have; None if nothing is known of it."""
        record = _RECORD.get()
        if record and key in record.files:
            return record.files[key]
        if not _is_proven(key) or (record and record.key == owner):
            return None
        known = self._known.get(owner)
        if known is None and not self.keys.private and not self.exists(f"{owner}/{RESULT}"):
            return None  # a file without a result, such as a try has left
        proof = (known[1] if known else self.prove(owner)).proof
        if proof is None or (key not in proof.files and key == f"{owner}/{COST}"):
            return None
        if key not in proof.files:
            raise self._refusal(owner, f"{key} is no file that its step wrote")
        return proof.files[key]

    def _proven(self, owner: str, data: bytes) -> Proven:
        found = digest(data)
        known = self._known.get(owner)
        if known is None or known[0] != found:
            known = self._known[owner] = (found, self._checked(owner, found))
        return known[1]

    def _checked(self, owner: str, found: str) -> Proven:
        place = _proof_key(owner, found)
        stored = self.inner.tagged(place)
        if stored is None:
            return self._without_proof(owner, found)
        proof, own = parse(stored[0], Proof, place), digest(stored[0])
        if (proof.key, proof.result) != (owner, found):
            raise self._refusal(owner, f"{place} is the proof of {proof.key}")
        if proof.inputs is not None and owner.split("/")[1] != address(proof.inputs):
            raise self._refusal(owner, f"what {place} says it is made from gives another key")
        signer = (proof.inputs or {}).get("signed_by", "")
        if self.keys.private or (self.keys.public and signer):
            self._check_stamp(owner, PROOF, place, own)
        return Proven(proof, own)

    def _without_proof(self, owner: str, found: str) -> Proven:
        """A result of before there were proofs; refused where it must be signed."""
        if others := self.inner.list(f"{owner}/{PROOFS}"):
            expected = others[0].rsplit(f"/{OF}", 1)[1].removesuffix(".json")
            raise self._refusal(
                owner, f"{owner}/{RESULT} has the SHA-256 {found}, its step wrote {expected}"
            )
        if self.keys.private:
            raise self._refusal(owner, "it has no proof of what it is made of, and no signature")
        log.warning("result_not_provable key=%s", owner)
        return Proven(None, "")

    def _compare(self, key: str, found: str, expected: str) -> None:
        if found != expected:
            said = f"{key} has the SHA-256 {found}, its step wrote {expected}"
            raise self._refusal(owner_of(key), said)

    def _refusal(self, owner: str, said: str) -> BadInput:
        remedy = f"remove {self.link(owner)} and run the steps from {owner.split('/')[0]} on again"
        if self.keys.private:
            remedy += (
                f"; every process that runs steps needs {SIGNING_KEY}. Who trusts what a released "
                "model was made from signs it all: python -m skin_pipeline models sign MODEL "
                "VERSION"
            )
        return BadInput(
            f"the result {owner} in the store {self.url} is not what its step wrote: {said}. "
            f"Nothing of it was used. Find out who changed it; then {remedy}"
        )

    def _digest(self, key: str) -> str:
        return digest_file(self.inner.local(key, fresh=True))

    def _folder(self) -> Path:
        """A folder of private copies, which goes with the result that is being made."""
        holder = _RECORD.get() or self
        name = "copies" if isinstance(holder, Record) else "_copies"
        if getattr(holder, name) is None:
            setattr(holder, name, tempfile.TemporaryDirectory(prefix="skin-"))
        return Path(getattr(holder, name).name)

    # --- signatures ------------------------------------------------------------------------------

    def _signed_alone(self, key: str, *, fresh: bool) -> Path:
        """A checkpoint, in a private copy; or activations, which may be too large for a copy."""
        if owner_of(key):
            path = self._folder() / uuid.uuid4().hex
            found = copied(self.inner, key, path)
        else:
            path = self.inner.local(key, fresh=fresh)
            found = digest_file(path)
        self._check_stamp(key, OBJECT, key, found)
        return path

    def _stamp(self, kind: str, key: str, found: str) -> bool:
        """Sign an object; whether it was not signed yet."""
        statement = _statement(kind, key, found)
        place = f"{SIGNATURES}/{self.stamper.own}/{digest(statement)}"
        known = self.inner.tagged(place)
        if known and self.stamper.problem(statement, known[0]):
            self.inner.remove(place)  # put there by somebody without the key, to stop us
        return self.inner.put(place, self.stamper.stamp(statement))

    def _check_stamp(self, what: str, kind: str, key: str, found: str) -> None:
        statement = _statement(kind, key, found)
        place = f"{SIGNATURES}/{self.stamper.trusted}/{digest(statement)}"
        stamp = self.inner.tagged(place)
        problem = self.stamper.problem(statement, stamp[0]) if stamp else "is missing"
        if problem and kind == PROOF:
            raise self._refusal(what, f"its signature by our key {problem}")
        if problem:
            raise BadInput(
                f"{key} in the store {self.url} is not what a step with our key wrote: its "
                f"signature {problem}. Nothing of it was used. Find out who changed it, remove "
                f"{self.link(key)} and run the step again"
            )

    def vouch(self, key: str) -> bool:
        """Sign a result that is in the store, on a person's word; whether it was not signed before.

        Raises:
            BadInput: it has a proof that it does not agree with, or there is no private key.
        """
        bare = ProvenStore(self.inner, SigningKeys())
        data, found = self.inner.read(f"{key}/{RESULT}"), bare.prove(key)
        proof = found.proof or _proof_of_what_is_there(bare, key, data)
        for file in proof.files if found.proof else ():
            bare.check_file(file)
        place, content = _proof_key(key, proof.result), dump(proof)
        self.inner.put(place, content)
        return self._stamp(PROOF, place, found.digest or digest(content))


def signed_by(store: Store) -> dict[str, str]:
    """See `ProvenStore.signed_by`; nothing for another store."""
    return store.signed_by if isinstance(store, ProvenStore) else {}


def another_place(key: str) -> str:
    """A place below a result's key that nobody else uses."""
    return f"{key}/{AGAIN}{uuid.uuid4().hex[:8]}"


def _proof_key(key: str, result: str) -> str:
    return f"{key}/{PROOFS}/{OF}{result}.json"


def _proof_of_what_is_there(store: ProvenStore, key: str, data: bytes) -> Proof:
    files = [item for item in store.list(key) if _is_proven(item)]
    found = {item: store._digest(item) for item in files if item != f"{key}/{RESULT}"}
    return Proof(key=key, inputs=None, result=digest(data), files=found, made_from={})


def _is_proven(key: str) -> bool:
    """Whether an object below a result's key is part of the result."""
    return key.split("/")[2] not in {CHECKPOINTS, PROOFS}


def _is_signed_alone(key: str) -> bool:
    """Whether an object that is part of no result has a signature of its own."""
    parts = key.split("/")
    return parts[0] == ACTIVATIONS or (parts[0] in STEPS and parts[2:3] == [CHECKPOINTS])


def _statement(kind: str, key: str, found: str) -> bytes:
    """What is signed: no other statement of this project or another reads like it."""
    said = {"skin_pipeline": kind, "key": key, "sha256": found}
    return json.dumps(said, sort_keys=True).encode()
