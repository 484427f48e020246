"""Signatures of single objects: proofs of results, checkpoints, activations.

What is signed is a statement: which object, of which kind, with which SHA-256. The signature is an
object of its own, whose key is the SHA-256 of the statement, so that it is found without a list.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from skin_pipeline.provenance import ecdsa
from skin_pipeline.provenance.layout import SIGNATURES
from skin_pipeline.provenance.pem import fingerprint, public_key
from skin_pipeline.provenance.signing import SIGNATURE_BYTES, SigningKeys
from skin_pipeline.storage import Store, digest

PROOF, OBJECT = "proof of a result", "object"  # kinds of statements


class Stamper:
    """Signs and checks statements about objects.

    The keys are those of versions, but the signatures are plain ECDSA, which takes milliseconds.
    What `model-signing` signs begins with `DSSEv1`, and a statement is a JSON object, so that no
    signature is ever valid for both.

    Args:
        private: The private key that signs, if any.
        public: The public key by which signatures are checked, if any.
    """

    def __init__(self, private: Any, public: Any) -> None:
        self._private, self._public = private, public
        self.own = fingerprint(private.public_key()) if private else ""
        self.trusted = fingerprint(public) if public else ""

    @classmethod
    def of(cls, keys: SigningKeys) -> Stamper:
        """Returns a stamper with the keys of these files; each may be left out.

        Raises:
            BadInput: a key cannot be used, or the two do not belong together.
        """
        keys.check()
        private = keys.opened() if keys.private else None
        # With a private key, its own public half is the one to trust.
        if private is not None:
            return cls(private, private.public_key())
        return cls(None, public_key(keys.public) if keys.public else None)

    def stamp(self, statement: bytes) -> bytes:
        """Returns the signature of a statement, by the private key."""
        return base64.b64encode(ecdsa.signature(self._private, statement)) + b"\n"

    def problem(self, statement: bytes, stamp: bytes) -> str:
        """Returns what is wrong with a signature, after "its signature"; empty for nothing."""
        try:
            given = base64.b64decode(stamp[:SIGNATURE_BYTES].strip(), validate=True)
        except ValueError:
            given = b""
        signed = ecdsa.is_signature(self._public, statement, given)
        return "" if signed else "is not of this content by this key"


class Stamps:
    """The signatures of objects in a store.

    Args:
        store: The store that contains them.
        keys: The keys to sign and to check with.
    """

    def __init__(self, store: Store, keys: SigningKeys) -> None:
        self._store, self._keys = store, keys
        self._stamper: Stamper | None = None

    @property
    def stamper(self) -> Stamper:
        """The signer of statements, whose keys are read from their files at the first use."""
        if self._stamper is None:
            self._stamper = Stamper.of(self._keys)
        return self._stamper

    def sign(self, kind: str, key: str, found: str) -> bool:
        """Signs an object; returns whether it was not signed yet.

        Args:
            kind: `PROOF` or `OBJECT`.
            key: Of the object.
            found: Its SHA-256.
        """
        said = statement(kind, key, found)
        stamp = f"{SIGNATURES}/{self.stamper.own}/{digest(said)}"
        known = self._store.tagged(stamp)
        if known and self.stamper.problem(said, known[0]):
            # Written by a process without the key: it must not keep us from signing.
            self._store.remove(stamp)
        return self._store.put(stamp, self.stamper.stamp(said))

    def problem(self, kind: str, key: str, found: str) -> str:
        """Returns what is wrong with an object's signature, after "its signature"; empty for
        nothing. For the arguments, see `sign`."""
        said = statement(kind, key, found)
        stamp = self._store.tagged(f"{SIGNATURES}/{self.stamper.trusted}/{digest(said)}")
        return self.stamper.problem(said, stamp[0]) if stamp else "is missing"


def statement(kind: str, key: str, found: str) -> bytes:
    """Returns what is signed: no other statement of this project or another one looks like it."""
    said = {"skin_pipeline": kind, "key": key, "sha256": found}
    return json.dumps(said, sort_keys=True).encode()
