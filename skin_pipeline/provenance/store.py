"""A store that proves the results that are read from it, and records how results are made."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from skin_pipeline.contracts import COST, RESULT, Proof, dump
from skin_pipeline.errors import BadInput
from skin_pipeline.provenance import records
from skin_pipeline.provenance.layout import (
    CHECKPOINTS,
    PROOFS,
    another_folder,
    is_proven,
    is_signed_alone,
    owner_of,
    proof_key,
)
from skin_pipeline.provenance.proofs import Proofs, Proven
from skin_pipeline.provenance.records import Record, TakenError
from skin_pipeline.provenance.signing import SigningKeys
from skin_pipeline.provenance.stamps import OBJECT, PROOF, Stamper, Stamps
from skin_pipeline.storage import (
    KeyList,
    Store,
    Traffic,
    copied,
    digest,
    digest_file,
    digest_of,
    disk_errors,
)


class ProvenStore:
    """A `Store` whose results are compared with their proofs when they are read.

    Args:
        inner: The store.
        keys: With a private one, everything that steps write is signed, and everything that they
            read must be.

    Attributes:
        traffic: The bytes that were read and written through it.
    """

    def __init__(self, inner: Store, keys: SigningKeys) -> None:
        self.inner, self.keys, self.url = inner, keys, inner.url
        self._stamps = Stamps(inner, keys)
        self._proofs = Proofs(inner, keys, self._stamps)
        self.traffic = Traffic()
        self._copies: tempfile.TemporaryDirectory[str] | None = None

    @classmethod
    def of(cls, store: Store, keys: SigningKeys) -> ProvenStore:
        """Returns the store, proven with these keys and no others."""
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
        """Returns what the inner store has besides, such as a folder's path; it is not proven."""
        if name == "inner":  # while an object is copied it has no attribute yet
            raise AttributeError(name)
        return getattr(self.inner, name)

    # --- what every store does -------------------------------------------------------------------

    def exists(self, key: str) -> bool:
        """Implements `Store`."""
        return self.inner.exists(key)

    def list(self, prefix: str) -> KeyList:
        """Implements `Store`."""
        return self.inner.list(prefix)

    def sizes(self, prefix: str) -> dict[str, int]:
        """Implements `Store`."""
        return self.inner.sizes(prefix)

    def tagged(self, key: str) -> tuple[bytes, str] | None:
        """Implements `Store`. Nothing is compared here: pointers have no proof."""
        found = self.inner.tagged(key)
        self.traffic.add(read=len(found[0]) if found else 0)
        return found

    def swap(self, key: str, data: bytes, tag: str | None) -> bool:
        """Implements `Store`."""
        written = self.inner.swap(key, data, tag)
        self.traffic.add(written=len(data) if written else 0)
        return written

    def remove(self, key: str) -> None:
        """Implements `Store`."""
        self.inner.remove(key)

    def link(self, key: str) -> str:
        """Implements `Store`."""
        return self.inner.link(key)

    def put(self, key: str, data: bytes) -> bool:
        """Implements `Store`. For a file of a result that is being made, the digest is noted for
        the result's proof."""
        written = self.inner.put(key, data)
        self.traffic.add(written=len(data) if written else 0)
        self._note(key, digest(data), written=written)
        return written

    def put_file(self, key: str, path: Path, sha256: str = "") -> bool:
        """Implements `Store`, and notes the digest as `put` does."""
        record = records.current()
        signed = bool(self.keys.private) and is_signed_alone(key)
        ours = record is not None and key.startswith(f"{record.folder}/")
        found = sha256 or (digest_file(path) if signed or ours else "")
        if signed:  # before the object, so that there is never one without a signature
            self._stamps.sign(OBJECT, key, found)
        written = self.inner.put_file(key, path, found)
        self.traffic.add(written=path.stat().st_size if written else 0)
        self._note(key, found, written=written)
        return written

    def copy(self, source: str, key: str, sha256: str) -> bool:
        """Implements `Store`. Nothing is copied: what was not compared is not passed on here."""
        return False

    def read_into(self, key: str, sink: BinaryIO) -> str:
        """Implements `Store`. What came is compared after it was written to the file.

        Raises:
            BadInput: as `read`.
        """
        found = self.inner.read_into(key, sink)
        if expected := self.digest_of(key) if owner_of(key) else "":
            self._compare(key, found, expected)
        return found

    def read(self, key: str) -> bytes:
        """Implements `Store`.

        Raises:
            BadInput: Its step did not write this, or it is not signed as the keys require.
        """
        data = self.inner.read(key)
        self.traffic.add(read=len(data))
        if owner := owner_of(key):
            self._check(owner, key, data)
        return data

    def local(self, key: str, *, fresh: bool = False) -> Path:
        """Implements `Store`. A file of a result is a copy that no other user can change.

        Raises:
            BadInput: as `read`.
        """
        path = self._local(key, fresh=fresh)
        self.traffic.add(read=path.stat().st_size)
        return path

    def _local(self, key: str, *, fresh: bool) -> Path:
        if self.keys.private and is_signed_alone(key):
            return self._signed_alone(key, fresh=fresh)
        expected = self.digest_of(key) if owner_of(key) else ""
        if not expected:
            return self.inner.local(key, fresh=fresh)
        copy = self._folder() / uuid.uuid4().hex
        copied(self.inner, key, copy, expected)
        return copy

    @contextmanager
    def opened(self, key: str) -> Generator[BinaryIO, None, None]:
        """Implements `Store`. A file of a result is a copy that no other user can change.

        Activations may be too large for a copy, so the file in the store is compared with its
        signature.

        Raises:
            BadInput: as `read`.
        """
        alone = bool(self.keys.private) and is_signed_alone(key)
        if owner_of(key) and (alone or self.digest_of(key)):
            with self.local(key).open("rb") as file:
                yield file
            return
        with self.inner.opened(key) as file:
            self.traffic.add(read=os.fstat(file.fileno()).st_size)
            if alone:
                self._check_stamp(key, digest_of(file))
            yield file

    # --- while a result is made ------------------------------------------------------------------

    @property
    def signed_by(self) -> dict[str, str]:
        """The input that is added to those of each signed result: the fingerprint of the key; none
        without a private key. It gives signed results other addresses than unsigned ones."""
        return {"signed_by": self.stamper.own} if self.keys.private else {}

    @property
    def stamper(self) -> Stamper:
        """The signer of statements, whose keys are read from their files at the first use."""
        return self._stamps.stamper

    def folder_for(self, key: str) -> str:
        """Returns the folder for the files of a result that is about to be made.

        It is the result's key, unless there are files below it, left by a killed process or by
        someone else. Those are never made a part of the result.
        """
        kept = (f"{key}/{CHECKPOINTS}/", f"{key}/{PROOFS}/")
        left = [item for item in self.inner.list(key) if not item.startswith(kept)]
        return another_folder(key) if left else key

    def recording(self, key: str, folder: str) -> AbstractContextManager[Record]:
        """Notes what is written and read during the block.

        Args:
            key: Of the result that is made in it.
            folder: From `folder_for`.
        """
        return records.recording(key, folder)

    def keep(self, proof: Proof, result: bytes) -> None:
        """Writes a result, after its proof and the signature of that, if there is a key."""
        data, key = dump(proof), proof_key(proof.key, proof.result)
        if self.keys.private:
            self._stamps.sign(PROOF, key, digest(data))
        self.inner.put(key, data)
        self.inner.put(f"{proof.key}/{RESULT}", result)
        self.prove(proof.key)  # if another process made it at the same time, its result stays

    def _note(self, key: str, found: str, *, written: bool) -> None:
        """Notes a file of the result that is being made.

        Raises:
            TakenError: another process has written other bytes under this key.
        """
        record = records.current()
        if record is None or not key.startswith(f"{record.folder}/") or not is_proven(key):
            return
        if not written and record.files.get(key) != found and self._digest(key) != found:
            raise TakenError(key)
        record.files[key] = found

    # --- what is read ----------------------------------------------------------------------------

    def prove(self, key: str) -> Proven:
        """Returns a result's proof, checked together with its document.

        Raises:
            BadInput: its step did not write the document, or it is not signed as the keys require.
        """
        return self._proofs.of(key, self.inner.read(f"{key}/{RESULT}"))

    def digest_of(self, key: str) -> str:
        """Returns the SHA-256 that the document or a file of a result must have; "" if none is
        known.

        Raises:
            BadInput: its step did not write it.
        """
        owner = owner_of(key)
        if not owner:
            raise BadInput(
                f"{key!r} is no file of a result. Find out who changed the document that names it"
            )
        if key != f"{owner}/{RESULT}":
            return self._expected(owner, key) or ""
        proof = self.prove(owner).proof
        return proof.result if proof else ""

    def check_file(self, key: str) -> str:
        """Compares a file of a result with its proof; returns its SHA-256, or "" if none is known.

        Raises:
            BadInput: it is another one.
        """
        expected = self._expected(owner_of(key), key)
        if expected is not None:
            self._compare(key, digest_file(self.inner.local(key)), expected)
        return expected or ""

    def _check(self, owner: str, key: str, data: bytes) -> None:
        """Compares the document or a file of a result with its proof."""
        if key == f"{owner}/{RESULT}":
            proven = self._proofs.of(owner, data)
            record = records.current()
            # A step reads a document several times; all of them must be the one in its own proof.
            if record and record.made_from.setdefault(owner, proven.digest) != proven.digest:
                raise self._proofs.refusal(owner, f"{key} was exchanged while it was read")
        elif (expected := self._expected(owner, key)) is not None:
            self._compare(key, digest(data), expected)

    def _expected(self, owner: str, key: str) -> str | None:
        """Returns the SHA-256 that a file of a result must have; None if nothing is known of it."""
        record = records.current()
        if record and key in record.files:
            return record.files[key]
        if not is_proven(key) or (record and record.key == owner):
            return None
        known = self._proofs.known(owner)
        if known is None and not self.keys.private and not self.exists(f"{owner}/{RESULT}"):
            return None  # a file without a result, such as a killed process leaves
        proof = (known or self.prove(owner)).proof
        # Of several tries the first one wrote the cost, and the proof of another does not name it.
        if proof is None or (key not in proof.files and key == f"{owner}/{COST}"):
            return None
        if key not in proof.files:
            raise self._proofs.refusal(owner, f"{key} is no file that its step wrote")
        return proof.files[key]

    def _compare(self, key: str, found: str, expected: str) -> None:
        if found != expected:
            said = f"{key} has the SHA-256 {found}, its step wrote {expected}"
            raise self._proofs.refusal(owner_of(key), said)

    def _digest(self, key: str) -> str:
        return digest_file(self.inner.local(key, fresh=True))

    def _folder(self) -> Path:
        """Returns a folder for private copies, which is removed with the result that is being made,
        or else with this store."""
        holder = records.current() or self
        name = "copies" if isinstance(holder, Record) else "_copies"
        if getattr(holder, name) is None:
            with disk_errors(Path(tempfile.gettempdir()), "TMPDIR"):
                setattr(holder, name, tempfile.TemporaryDirectory(prefix="skin-"))
        return Path(getattr(holder, name).name)

    # --- signatures ------------------------------------------------------------------------------

    def _signed_alone(self, key: str, *, fresh: bool) -> Path:
        """Returns the file of a checkpoint, in a private copy, or of activations, which may be too
        large for a copy."""
        if owner_of(key):
            path = self._folder() / uuid.uuid4().hex
            found = copied(self.inner, key, path)
        else:
            path = self.inner.local(key, fresh=fresh)
            found = digest_file(path)
        self._check_stamp(key, found)
        return path

    def _check_stamp(self, key: str, found: str) -> None:
        """Refuses an object that is not signed by the trusted key."""
        if problem := self._stamps.problem(OBJECT, key, found):
            raise BadInput(
                f"{key} in the store {self.url} is not what a step with our key wrote: its "
                f"signature {problem}. Nothing of it was used. Find out who changed it, remove "
                f"{self.link(key)} and run the step again"
            )

    def vouch(self, key: str) -> bool:
        """Signs a result that is in the store, because a person trusts it; returns whether it was
        not signed before.

        Raises:
            BadInput: it does not agree with its proof, or there is no private key.
        """
        # Without keys, so that a missing signature is no reason to refuse it.
        bare = ProvenStore(self.inner, SigningKeys())
        data, found = self.inner.read(f"{key}/{RESULT}"), bare.prove(key)
        proof = found.proof or _proof_of_what_is_there(bare, key, data)
        for file in proof.files if found.proof else ():
            bare.check_file(file)
        beside, content = proof_key(key, proof.result), dump(proof)
        self.inner.put(beside, content)
        return self._stamps.sign(PROOF, beside, found.digest or digest(content))


def signed_by(store: Store) -> dict[str, str]:
    """Returns `ProvenStore.signed_by`; nothing for another store."""
    return store.signed_by if isinstance(store, ProvenStore) else {}


def _proof_of_what_is_there(store: ProvenStore, key: str, data: bytes) -> Proof:
    """Returns a proof for a result from before there were proofs, by the files that it has now."""
    files = [item for item in store.list(key) if is_proven(item)]
    found = {item: store._digest(item) for item in files if item != f"{key}/{RESULT}"}
    return Proof(key=key, inputs=None, result=digest(data), files=found, made_from={})
