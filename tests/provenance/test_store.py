"""What a store proves of what is read from it; see also release/test_chain.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import key_pairs
import numpy as np
import pytest
from attacker import Attacker
from proven import gate

from skin_pipeline.contracts import Trunk, Verdict, load
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job
from skin_pipeline.provenance import ProvenStore, SigningKeys
from skin_pipeline.storage import FolderStore, digest
from skin_pipeline.training.cache import FeatureCache
from skin_pipeline.training.checkpoints import Checkpoints, State


def test_what_is_signed_has_another_address_and_is_never_mixed(
    make: Callable[..., Job], keys: SigningKeys, store: FolderStore, tmp_path: Path
) -> None:
    theirs = key_pairs.write(tmp_path, "theirs")
    assert len({gate(make()), gate(make(keys)), gate(make(theirs))}) == 3
    assert gate(make(keys)) == gate(make(keys))


@pytest.mark.parametrize("read", ["read", "local"])
def test_a_file_that_was_exchanged_is_not_read(
    make: Callable[..., Job], store: FolderStore, read: str
) -> None:
    key = gate(make())
    assert Path(make().store.local(f"{key}/card.md")).read_bytes() == b"a card"
    Attacker(store.root).exchange(f"{key}/card.md", b"another")
    with pytest.raises(BadInput, match=digest(b"another")):
        getattr(make().store, read)(f"{key}/card.md")


def test_what_was_read_stays_what_it_was_when_the_store_changes(
    make: Callable[..., Job], store: FolderStore
) -> None:
    key = gate(make())
    job = make()
    copy = job.store.local(f"{key}/card.md")
    Attacker(store.root).exchange(f"{key}/card.md", b"another")
    assert copy.read_bytes() == b"a card"
    assert copy.stat().st_mode & 0o077 == 0


def test_a_result_that_is_exchanged_while_a_step_reads_it_is_refused(
    make: Callable[..., Job], store: FolderStore
) -> None:
    key, proven = gate(make()), make().proven
    with proven.recording("gate/new", "gate/new"):
        before = load(proven, key, Verdict)
        Attacker(store.root).forge(key, {"approved": not before.approved})
        with pytest.raises(BadInput, match="was exchanged while it was read"):
            load(proven, key, Verdict)


def test_a_checkpoint_that_no_step_with_the_key_wrote_is_thrown_away(
    make: Callable[..., Job],
    keys: SigningKeys,
    store: FolderStore,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ours = Checkpoints(make(keys).store, "train/1")
    ours.save(State(stage=1, variables=[np.ones(3)]))
    assert (ours.latest() or State()).stage == 1
    (key,) = store.list("train/1/checkpoints")
    planted = Checkpoints(FolderStore(store.root), "train/1")
    later = FolderStore(store.root)
    later.put(f"{key.removesuffix('.npz')}9.npz", store.read(key) + b" ")
    assert planted.latest() is not None
    assert (ours.latest() or State()).stage == 1
    assert "checkpoint_unreadable" in caplog.text
    Attacker(store.root).exchange(key, store.read(key) + b" ")
    assert ours.latest() is None


def test_cached_activations_that_no_step_with_the_key_wrote_are_refused(
    make: Callable[..., Job], keys: SigningKeys, store: FolderStore, tmp_path: Path
) -> None:
    trunk = Trunk(backbone="ResNet50", source="none", digest="0")
    ids, path = np.array([b"a" * 32], "S32"), tmp_path / "block.npy"
    np.save(path, np.zeros((1, 4), np.float32))

    def cached(job: Job) -> str:
        return FeatureCache(job.store, trunk, 64).find("pooled", "0", ids)[0][0]

    for job in (make(), make(keys)):
        FeatureCache(job.store, trunk, 64).add("pooled", "0", ids, path)
    assert cached(make()) != cached(make(keys))
    block = cached(make(keys))
    assert np.load(make(keys).store.local(block)).shape == (1, 4)
    Attacker(store.root).exchange(block, path.read_bytes()[:-1] + b"\1")
    with pytest.raises(BadInput, match="not what a step with our key wrote"):
        make(keys).store.local(block)


def test_the_same_store_with_the_same_keys_is_the_same(
    store: FolderStore, keys: SigningKeys
) -> None:
    """By which the network that one task has loaded is found again."""
    first, second = ProvenStore.of(store, keys), ProvenStore.of(ProvenStore.of(store, keys), keys)
    assert (first, hash(first)) == (second, hash(second))
    assert first != ProvenStore.of(store, SigningKeys())
