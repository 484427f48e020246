"""Where results are in the store."""

from __future__ import annotations

from skin_pipeline.data import ingesting
from skin_pipeline.provenance.layout import STEPS
from skin_pipeline.versions import VERSIONS


def test_every_step_writes_results_that_are_proven() -> None:
    assert set(STEPS) == {*VERSIONS, *ingesting.VERSIONS}
