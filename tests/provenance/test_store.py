"""What a store proves while results are made and read; see also release/test_chain.py."""

from __future__ import annotations

import json
from pathlib import Path

import documents
import key_pairs
import numpy as np
import pytest
from attacker import Attacker
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from skin_pipeline import steps
from skin_pipeline.config import Deployment, Settings
from skin_pipeline.contracts import Trunk, Verdict, load
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job
from skin_pipeline.provenance import signing
from skin_pipeline.provenance import store as provenance
from skin_pipeline.provenance.signing import SigningKeys, Stamper
from skin_pipeline.provenance.store import ProvenStore
from skin_pipeline.storage import FolderStore, digest
from skin_pipeline.training.cache import FeatureCache
from skin_pipeline.training.checkpoints import Checkpoints, State


@pytest.fixture
def keys(tmp_path):
    return key_pairs.write(tmp_path, "ours")


@pytest.fixture
def make(store):
    """Makes jobs with other keys on the test's store."""

    def job(keys: SigningKeys = signing.NONE) -> Job:
        deployment = Deployment(store=store.url, signing_key=keys.private, public_key=keys.public)
        return Job(Settings(), deployment, store)

    return job


def gate(job: Job, **inputs: str) -> str:
    def work(key):
        job.store.put(f"{key}/card.md", b"a card")
        for earlier in inputs.values():
            load(job.store, earlier, Verdict)
        return documents.verdict()

    return job.once("gate", 1, inputs, lambda making: work(making.key))


def test_every_step_writes_results_that_are_proven():
    assert set(provenance.STEPS) == set(steps.VERSIONS)


def test_a_proof_names_what_a_result_is_made_of_and_from(make):
    job = make()
    first = gate(job)
    second = gate(job, earlier=first)
    proof, own = job.proven.prove(second)
    assert proof.inputs == {"version": 1, "earlier": first}
    assert proof.files[f"{second}/card.md"] == digest(b"a card")
    assert proof.made_from == {first: job.proven.prove(first).digest}
    assert proof.result == digest(job.store.read(f"{second}/result.json"))
    assert own == digest(job.store.read(f"{second}/proofs/of_{proof.result}.json"))


def test_a_result_within_another_has_a_proof_of_its_own(make):
    job = make()
    inner = []

    def work(key):
        inner.append(gate(job))
        job.store.put(f"{key}/predictions.csv", b"")
        return documents.verdict()

    outer = job.once("evaluate", 1, {}, lambda making: work(making.key))
    assert set(job.proven.prove(outer).proof.files) == {
        f"{outer}/predictions.csv",
        f"{outer}/cost.json",
    }
    assert f"{inner[0]}/card.md" in job.proven.prove(inner[0]).proof.files


def test_what_is_signed_has_another_address_and_is_never_mixed(make, keys, tmp_path):
    theirs = key_pairs.write(tmp_path, "theirs")
    assert len({gate(make()), gate(make(keys)), gate(make(theirs))}) == 3
    assert gate(make(keys)) == gate(make(keys))


def test_two_that_make_a_result_at_once_do_not_mix_their_files(make):
    """As two runs on the same images do; a model's file is never the same twice."""
    first, second = make(), make()

    def slower(key):
        def faster(other):
            second.store.put(f"{other}/model.keras", b"the faster one's")
            return documents.verdict(report=f"{other}/model.keras")

        second.once("gate", 1, {}, lambda making: faster(making.key))
        first.store.put(f"{key}/model.keras", b"the slower one's")
        return documents.verdict(report=f"{key}/model.keras")

    key = first.once("gate", 1, {}, lambda making: slower(making.key))
    model = load(make().store, key, Verdict).report
    assert make().store.read(model) == b"the faster one's"


def test_a_file_that_a_step_did_not_write_is_no_part_of_its_result(make, store):
    key = gate(make())
    Attacker(store.root).exchange(f"{key}/model.keras", b"planted")
    with pytest.raises(BadInput, match=r"model\.keras is no file that its step wrote"):
        make().store.read(f"{key}/model.keras")


@pytest.mark.parametrize("read", ["read", "local"])
def test_a_file_that_was_exchanged_is_not_read(make, store, read):
    key = gate(make())
    assert Path(make().store.local(f"{key}/card.md")).read_bytes() == b"a card"
    Attacker(store.root).exchange(f"{key}/card.md", b"another")
    with pytest.raises(BadInput, match=digest(b"another")):
        getattr(make().store, read)(f"{key}/card.md")


def test_what_was_read_stays_what_it_was_when_the_store_changes(make, store):
    key = gate(make())
    job = make()
    copy = job.store.local(f"{key}/card.md")
    Attacker(store.root).exchange(f"{key}/card.md", b"another")
    assert copy.read_bytes() == b"a card"
    assert copy.stat().st_mode & 0o077 == 0


def test_a_proof_of_another_key_or_other_inputs_is_none(make, store):
    key, other = gate(make()), gate(make(), earlier=gate(make()))
    attacker = Attacker(store.root)
    attacker.exchange(f"{other}/result.json", attacker.read(f"{key}/result.json"))
    attacker.exchange(str(attacker.proof(other).relative_to(store.root)), b"{}")
    with pytest.raises(BadInput):
        load(make().store, other, Verdict)
    attacker.undo()
    attacker.prove(key, inputs={"version": 1, "earlier": "gate/other"})
    with pytest.raises(BadInput, match="gives another key"):
        load(make().store, key, Verdict)


# --- checkpoints and activations ------------------------------------------------------------------


def test_a_checkpoint_that_no_step_with_the_key_wrote_is_thrown_away(make, keys, store, caplog):
    ours = Checkpoints(make(keys).store, "train/1")
    ours.save(State(stage=1, variables=[np.ones(3)]))
    assert ours.latest().stage == 1
    (key,) = store.list("train/1/checkpoints")
    planted = Checkpoints(FolderStore(store.root), "train/1")
    later = FolderStore(store.root)
    later.put(f"{key.removesuffix('.npz')}9.npz", store.read(key) + b" ")
    assert planted.latest() is not None
    assert ours.latest().stage == 1
    assert "checkpoint_unreadable" in caplog.text
    Attacker(store.root).exchange(key, store.read(key) + b" ")
    assert ours.latest() is None


def test_cached_activations_that_no_step_with_the_key_wrote_are_refused(make, keys, tmp_path):
    trunk = Trunk(backbone="ResNet50", source="none", digest="0")
    ids, path = np.array([b"a" * 32], "S32"), tmp_path / "block.npy"
    np.save(path, np.zeros((1, 4), np.float32))

    def cached(job: Job) -> str:
        return FeatureCache(job.store, trunk, 64).find("pooled", 0, ids)[0][0]

    for job in (make(), make(keys)):
        FeatureCache(job.store, trunk, 64).add("pooled", 0, ids, path)
    assert cached(make()) != cached(make(keys))
    block = cached(make(keys))
    assert np.load(make(keys).store.local(block)).shape == (1, 4)
    Attacker(make().store.inner.root).exchange(block, path.read_bytes()[:-1] + b"\1")
    with pytest.raises(BadInput, match="not what a step with our key wrote"):
        make(keys).store.local(block)


# --- signatures -----------------------------------------------------------------------------------

PAIR = ec.generate_private_key(ec.SECP256R1())
STAMPER = Stamper(PAIR, PAIR.public_key())
STATEMENTS = st.tuples(
    st.sampled_from([provenance.PROOF, provenance.OBJECT]), st.text(max_size=8), st.text(max_size=8)
)


@given(STATEMENTS, STATEMENTS)
def test_a_signature_is_good_for_one_statement_only(signed, other):
    statement = provenance._statement(*signed)
    stamp = STAMPER.stamp(statement)
    assert STAMPER.problem(statement, stamp) == ""
    assert bool(STAMPER.problem(provenance._statement(*other), stamp)) == (signed != other)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_signature_are_none(stamp):
    assert STAMPER.problem(b"statement", stamp) == "is not of this content by this key"


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_keys_on_other_curves_sign_too(curve, make, tmp_path):
    keys = key_pairs.write(tmp_path, "large", ec.generate_private_key(curve), password="open")
    deployment = Deployment(
        store=f"file://{tmp_path}/store", signing_key=keys.private, signing_password=keys.password
    )
    job = Job(Settings(), deployment, FolderStore(tmp_path / "store"))
    assert load(job.store, gate(job), Verdict) == documents.verdict()


def test_a_version_s_signature_is_none_of_a_result_and_the_other_way_round(keys):
    manifest = b'{"key": "gate/1/proofs/0.json", "sha256": "0", "skin_pipeline": "proof"}'
    bundle = signing.sign(manifest, keys)
    stamper = Stamper.of(keys)
    inside = json.loads(bundle)["dsseEnvelope"]["signatures"][0]["sig"].encode()
    assert stamper.problem(manifest, inside)
    envelope = json.loads(bundle)
    envelope["dsseEnvelope"]["signatures"][0]["sig"] = stamper.stamp(manifest).decode().strip()
    assert signing.problem(manifest, json.dumps(envelope).encode(), keys.own())


def test_a_worker_with_the_public_key_only_checks_what_is_signed_and_takes_what_is_not(
    make, keys, store
):
    public = SigningKeys(public=keys.public)
    unsigned, signed = gate(make(public)), gate(make(keys))
    assert load(make(public).store, signed, Verdict) == load(make(public).store, unsigned, Verdict)
    for key in store.list("signatures"):
        store.remove(key)
    assert load(make(public).store, unsigned, Verdict)
    with pytest.raises(BadInput, match="signature by our key is missing"):
        load(make(public).store, signed, Verdict)


def test_what_stands_in_the_place_of_a_signature_stops_nobody(make, keys, store):
    key = gate(make(keys))
    (place,) = store.list("signatures")
    attacker = Attacker(store.root)
    attacker.exchange(place, b"no signature")
    with pytest.raises(BadInput, match="is not of this content by this key"):
        load(make(keys).store, key, Verdict)
    assert make(keys).proven.vouch(key)
    assert load(make(keys).store, key, Verdict) == documents.verdict()


def test_keys_that_are_no_pair_make_no_result(make, keys, tmp_path):
    theirs = key_pairs.write(tmp_path, "theirs")
    with pytest.raises(BadInput, match="is not the public half"):
        gate(make(SigningKeys(keys.private, theirs.public)))


def test_the_same_store_with_the_same_keys_is_the_same(store, keys):
    """By which the network that one task has loaded is found again."""
    first, second = ProvenStore.of(store, keys), ProvenStore.of(ProvenStore.of(store, keys), keys)
    assert (first, hash(first)) == (second, hash(second))
    assert first != ProvenStore.of(store, SigningKeys())
