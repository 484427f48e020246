"""Where results are in the store."""

from __future__ import annotations

from skin_pipeline import steps
from skin_pipeline.data import ingesting
from skin_pipeline.provenance.layout import STEPS


def test_every_step_writes_results_that_are_proven() -> None:
    assert set(STEPS) == {*steps.VERSIONS, *ingesting.VERSIONS}
