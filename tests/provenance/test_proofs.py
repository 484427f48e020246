"""Results that their steps did not write are refused; see also release/test_chain.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attacker import Attacker
from proven import gate

from skin_pipeline.contracts import Verdict, load
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job
from skin_pipeline.storage import FolderStore


def test_a_file_that_a_step_did_not_write_is_no_part_of_its_result(
    make: Callable[..., Job], store: FolderStore
) -> None:
    key = gate(make())
    Attacker(store.root).exchange(f"{key}/model.keras", b"planted")
    with pytest.raises(BadInput, match=r"model\.keras is no file that its step wrote"):
        make().store.read(f"{key}/model.keras")


def test_a_document_that_was_replaced_does_not_pass_for_one_older_than_proofs(
    make: Callable[..., Job], store: FolderStore
) -> None:
    key = gate(make())
    attacker = Attacker(store.root)
    attacker.exchange(f"{key}/result.json", attacker.read(f"{key}/result.json") + b" ")
    with pytest.raises(BadInput, match="is not what its step wrote"):
        load(make().store, key, Verdict)


def test_a_proof_of_another_key_or_other_inputs_is_none(
    make: Callable[..., Job], store: FolderStore
) -> None:
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
