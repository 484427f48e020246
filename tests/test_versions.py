"""The versions of the steps' code."""

from __future__ import annotations

from skin_pipeline.provenance.layout import STEPS
from skin_pipeline.versions import VERSIONS


def test_each_is_that_of_a_step_whose_results_are_proven() -> None:
    assert set(VERSIONS) <= set(STEPS)
    assert all(version >= 1 for version in VERSIONS.values())
