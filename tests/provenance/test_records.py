"""What is noted while a result is made."""

from __future__ import annotations

from collections.abc import Callable

import documents
from proven import gate

from skin_pipeline.contracts import Verdict, load
from skin_pipeline.job import Job, Work
from skin_pipeline.storage import digest


def test_a_proof_names_what_a_result_is_made_of_and_from(make: Callable[..., Job]) -> None:
    job = make()
    first = gate(job)
    second = gate(job, earlier=first)
    proof, own = job.proven.prove(second)
    assert proof
    assert proof.inputs == {"version": 1, "earlier": first}
    assert proof.files[f"{second}/card.md"] == digest(b"a card")
    assert proof.made_from == {first: job.proven.prove(first).digest}
    assert proof.result == digest(job.store.read(f"{second}/result.json"))
    assert own == digest(job.store.read(f"{second}/proofs/of_{proof.result}.json"))


def test_a_result_within_another_has_a_proof_of_its_own(make: Callable[..., Job]) -> None:
    job = make()
    inner = []

    def make_outer(work: Work) -> Verdict:
        inner.append(gate(job))
        work.put("predictions.csv", b"")
        return documents.verdict()

    outer = job.once("evaluate", 1, {}, make_outer)
    of_outer, of_inner = (job.proven.prove(key).proof for key in (outer, inner[0]))
    assert of_outer
    assert set(of_outer.files) == {f"{outer}/predictions.csv", f"{outer}/cost.json"}
    assert of_inner
    assert f"{inner[0]}/card.md" in of_inner.files


def test_two_that_make_a_result_at_once_do_not_mix_their_files(make: Callable[..., Job]) -> None:
    """As two runs on the same images do; a model's file is never the same twice."""
    first, second = make(), make()

    def slower(work: Work) -> Verdict:
        def faster(other: Work) -> Verdict:
            return documents.verdict(report=other.put("model.keras", b"the faster one's"))

        second.once("gate", 1, {}, faster)
        return documents.verdict(report=work.put("model.keras", b"the slower one's"))

    key = first.once("gate", 1, {}, slower)
    model = load(make().store, key, Verdict).report
    assert make().store.read(model) == b"the faster one's"
