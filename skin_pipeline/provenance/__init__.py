"""Proofs of what each result is made of, and the keys that sign results and versions.

Takes a store and the keys of an installation; gives a `ProvenStore`, which steps read and write
like any other store. While a result is made, it notes what is written and which results are read,
and writes that as the result's proof; everything that is read later is compared with its proof.
So nobody can replace a file or a result between two steps without being noticed, and nobody
without the private key can write a proof that a step with this key accepts. `job` makes results by
it; every room above may read through it, and `release` signs versions and aliases by `signing`.

    keys = SigningKeys.of(deployment)
    store = ProvenStore.of(open_store(deployment.store), keys)
    store.read("gate/4f1a/report.html")               # raises BadInput if its step wrote another

Its modules, in reading order:

    layout      where results, proofs and signatures are in the store
    pem         keys, read from files
    ecdsa       signatures of bytes
    signing     the installation's keys; signatures of versions and of small documents
    stamps      signatures of single objects in the store
    records     what a step writes and reads while it makes a result
    proofs      the proofs of results, checked
    store       the store that does all this
"""

from skin_pipeline.provenance import signing
from skin_pipeline.provenance.layout import STEPS, another_folder, owner_of
from skin_pipeline.provenance.pem import PUBLIC_KEY, SIGNING_KEY
from skin_pipeline.provenance.records import Record, TakenError
from skin_pipeline.provenance.signing import SigningKeys
from skin_pipeline.provenance.store import ProvenStore, signed_by

__all__ = [
    "PUBLIC_KEY",
    "SIGNING_KEY",
    "STEPS",
    "ProvenStore",
    "Record",
    "SigningKeys",
    "TakenError",
    "another_folder",
    "owner_of",
    "signed_by",
    "signing",
]
