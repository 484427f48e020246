"""The proofs of results: looked up, compared with the results, and what is refused.

A proof says what a result is made from, and the SHA-256 of its document and of each file.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from skin_pipeline.contracts import RESULT, Proof, address, parse
from skin_pipeline.errors import BadInput
from skin_pipeline.provenance.layout import PROOFS, digest_proven, proof_key
from skin_pipeline.provenance.pem import SIGNING_KEY
from skin_pipeline.provenance.signing import SigningKeys
from skin_pipeline.provenance.stamps import PROOF, Stamps
from skin_pipeline.storage import Store, digest

log = logging.getLogger(__name__)


class Proven(NamedTuple):
    """A result's proof, after it was checked, and its SHA-256.

    A result from before there were proofs has None and an empty digest.
    """

    proof: Proof | None
    digest: str


class Proofs:
    """The proofs in a store, each checked once.

    Args:
        store: The store that contains them.
        keys: With a private one, every proof must be signed by it; with a public one only, those
            that name a signer.
        stamps: The signatures in the store.
    """

    def __init__(self, store: Store, keys: SigningKeys, stamps: Stamps) -> None:
        self._store, self._keys, self._stamps = store, keys, stamps
        self._known: dict[str, tuple[str, Proven]] = {}  # digest of a document, and its proof

    def of(self, owner: str, data: bytes) -> Proven:
        """Returns the proof of a result.

        Args:
            owner: The result's key.
            data: Its document.

        Raises:
            BadInput: its step did not write this document, or it is not signed as the keys require.
        """
        found = digest(data)
        known = self._known.get(owner)
        if known is None or known[0] != found:
            known = self._known[owner] = (found, self._checked(owner, found))
        return known[1]

    def known(self, owner: str) -> Proven | None:
        """Returns the proof of a result if it was checked before."""
        known = self._known.get(owner)
        return known[1] if known else None

    def refusal(self, owner: str, said: str) -> BadInput:
        """Returns the error for a result that is not what its step wrote.

        Args:
            owner: The result's key.
            said: What was found.
        """
        step = owner.split("/")[0]
        remedy = f"remove {self._store.link(owner)} and run the steps from {step} on again"
        if self._keys.private:
            remedy += (
                f"; every process that runs steps needs {SIGNING_KEY}. If you trust what a "
                "released model was made from, sign it all: python -m skin_pipeline models sign "
                "MODEL VERSION"
            )
        return BadInput(
            f"the result {owner} in the store {self._store.url} is not what its step wrote: {said}."
            f" Nothing of it was used. Find out who changed it; then {remedy}"
        )

    def _checked(self, owner: str, found: str) -> Proven:
        key = proof_key(owner, found)
        stored = self._store.tagged(key)
        if stored is None:
            return self._without_proof(owner, found)
        proof, own = parse(stored[0], Proof, key), digest(stored[0])
        # A proof that was copied from another result names that one.
        if (proof.key, proof.result) != (owner, found):
            raise self.refusal(owner, f"{key} is the proof of {proof.key}")
        if proof.inputs is not None and owner.split("/")[1] != address(proof.inputs):
            raise self.refusal(owner, f"what {key} says it is made from gives another key")
        signer = (proof.inputs or {}).get("signed_by", "")
        must_be_signed = self._keys.private or (self._keys.public and signer)
        if must_be_signed and (problem := self._stamps.problem(PROOF, key, own)):
            raise self.refusal(owner, f"its signature by our key {problem}")
        return Proven(proof, own)

    def _without_proof(self, owner: str, found: str) -> Proven:
        """Accepts a result from before there were proofs, unless it must be signed."""
        # The result has a proof, but of another document: so it is not older than proofs, and its
        # document was replaced.
        if others := self._store.list(f"{owner}/{PROOFS}"):
            expected = digest_proven(others[0])
            raise self.refusal(
                owner, f"{owner}/{RESULT} has the SHA-256 {found}, its step wrote {expected}"
            )
        if self._keys.private:
            raise self.refusal(owner, "it has no proof of what it is made of, and no signature")
        log.warning("result_not_provable key=%s", owner)
        return Proven(None, "")
