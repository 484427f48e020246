"""Signatures of single objects in the store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import documents
import key_pairs
import pytest
from attacker import Attacker
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from proven import gate

from skin_pipeline.config import Deployment, Settings
from skin_pipeline.contracts import Verdict, load
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job
from skin_pipeline.provenance import SigningKeys, signing
from skin_pipeline.provenance.stamps import OBJECT, PROOF, Stamper, statement
from skin_pipeline.storage import FolderStore

PAIR = ec.generate_private_key(ec.SECP256R1())


STAMPER = Stamper(PAIR, PAIR.public_key())


STATEMENTS = st.tuples(st.sampled_from([PROOF, OBJECT]), st.text(max_size=8), st.text(max_size=8))


@given(STATEMENTS, STATEMENTS)
def test_a_signature_is_good_for_one_statement_only(
    signed: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    made = statement(*signed)
    stamp = STAMPER.stamp(made)
    assert STAMPER.problem(made, stamp) == ""
    assert bool(STAMPER.problem(statement(*other), stamp)) == (signed != other)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_signature_are_none(stamp: bytes) -> None:
    assert STAMPER.problem(b"statement", stamp) == "is not of this content by this key"


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_keys_on_other_curves_sign_too(
    curve: ec.EllipticCurve, make: Callable[..., Job], tmp_path: Path
) -> None:
    keys = key_pairs.write(tmp_path, "large", ec.generate_private_key(curve), password="open")
    deployment = Deployment(
        store=f"file://{tmp_path}/store", signing_key=keys.private, signing_password=keys.password
    )
    job = Job(Settings(), deployment, FolderStore(tmp_path / "store"))
    assert load(job.store, gate(job), Verdict) == documents.verdict()


def test_a_version_s_signature_is_none_of_a_result_and_the_other_way_round(
    keys: SigningKeys,
) -> None:
    manifest = b'{"key": "gate/1/proofs/0.json", "sha256": "0", "skin_pipeline": "proof"}'
    bundle = signing.sign(manifest, keys)
    stamper = Stamper.of(keys)
    inside = json.loads(bundle)["dsseEnvelope"]["signatures"][0]["sig"].encode()
    assert stamper.problem(manifest, inside)
    envelope = json.loads(bundle)
    envelope["dsseEnvelope"]["signatures"][0]["sig"] = stamper.stamp(manifest).decode().strip()
    assert signing.problem(manifest, json.dumps(envelope).encode(), keys.own())


def test_a_worker_with_the_public_key_only_checks_what_is_signed_and_takes_what_is_not(
    make: Callable[..., Job], keys: SigningKeys, store: FolderStore
) -> None:
    public = SigningKeys(public=keys.public)
    unsigned, signed = gate(make(public)), gate(make(keys))
    assert load(make(public).store, signed, Verdict) == load(make(public).store, unsigned, Verdict)
    for key in store.list("signatures"):
        store.remove(key)
    assert load(make(public).store, unsigned, Verdict)
    with pytest.raises(BadInput, match="signature by our key is missing"):
        load(make(public).store, signed, Verdict)


def test_what_stands_in_the_place_of_a_signature_stops_nobody(
    make: Callable[..., Job], keys: SigningKeys, store: FolderStore
) -> None:
    key = gate(make(keys))
    (stamp,) = store.list("signatures")
    attacker = Attacker(store.root)
    attacker.exchange(stamp, b"no signature")
    with pytest.raises(BadInput, match="is not of this content by this key"):
        load(make(keys).store, key, Verdict)
    assert make(keys).proven.vouch(key)
    assert load(make(keys).store, key, Verdict) == documents.verdict()


def test_keys_that_are_no_pair_make_no_result(
    make: Callable[..., Job], keys: SigningKeys, tmp_path: Path
) -> None:
    theirs = key_pairs.write(tmp_path, "theirs")
    with pytest.raises(BadInput, match="is not the public half"):
        gate(make(SigningKeys(keys.private, theirs.public)))
