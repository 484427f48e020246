"""What a version was made from: its documents, the graph, and what damage hides."""

from __future__ import annotations

from dataclasses import replace

import many_versions
import pytest
from released import opened

from skin_pipeline.contracts import Release
from skin_pipeline.operations.lineage import Stage, origin_of, stages
from skin_pipeline.storage import FolderStore

NAMES = ["Data set", "Validation", "Split", "Runs", "Evaluation", "Verdict", "Version"]


@pytest.fixture
def release(store: FolderStore) -> Release:
    (version,) = many_versions.write(store, versions=1)
    return opened(store).unverified.release(version)


def graph(store: FolderStore, release: Release) -> dict[str, Stage]:
    found = stages(origin_of(store, release, with_runs=True))
    assert [stage.name for stage in found] == NAMES
    return {stage.name: stage for stage in found}


def test_each_stage_leads_to_its_document_and_its_pages(
    store: FolderStore, release: Release
) -> None:
    found = graph(store, release)
    nodes = {name: stage.nodes[0] for name, stage in found.items()}
    assert nodes["Data set"].facts[1:] == ("3 quarantined", "from kaggle://owner/<skin>")
    assert nodes["Validation"].page == "validate/01/docs/index.html"
    assert nodes["Split"].page == "split/01/docs/index.html"
    assert nodes["Verdict"].page == f"{release.verdict}/report.html"
    assert [node.title for node in found["Runs"].nodes] == ["run 0", "run 1"]
    assert not any(node.problem for stage in found.values() for node in stage.nodes)
    for node in (*found["Runs"].nodes, *(nodes[name] for name in NAMES if name not in "Version")):
        assert store.exists(node.document)


def test_the_runs_stand_in_the_order_of_their_numbers(store: FolderStore, release: Release) -> None:
    origin = origin_of(store, release, with_runs=True)
    turned = replace(origin, runs=dict(reversed(origin.runs.items())))
    (runs,) = (stage for stage in stages(turned) if stage.name == "Runs")
    assert [node.title for node in runs.nodes] == ["run 0", "run 1"]


def test_a_damaged_document_is_a_problem_of_its_own_stage(
    store: FolderStore, release: Release
) -> None:
    (store.root / "validate/01/result.json").write_text("{}")
    found = graph(store, release)
    broken = [name for name, stage in found.items() if any(n.problem for n in stage.nodes)]
    assert broken == ["Validation"]
    assert "not a Validation document" in found["Validation"].nodes[0].problem


def test_what_only_a_damaged_document_names_is_not_known(
    store: FolderStore, release: Release
) -> None:
    store.remove(f"{release.verdict}/result.json")
    found = graph(store, release)
    assert "there is no gate/" in found["Verdict"].nodes[0].problem
    for name in ("Data set", "Validation", "Split", "Runs", "Evaluation"):
        assert found[name].nodes[0].problem.startswith("not known")
        assert found[name].nodes[0].document == ""
    assert found["Version"].nodes[0].problem == ""
