"""What the steps took on one machine."""

from __future__ import annotations

import pytest

from skin_pipeline.operations.figures import BUILT_IN
from skin_pipeline.training.strategies import STRATEGIES


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_has_a_figure_for_what_it_trains_and_for_each_way_of_scoring(
    strategy: str,
) -> None:
    trained = "train" if strategy == "head" else strategy
    assert set(BUILT_IN[strategy]) == {trained, "logits", "evaluate", "champion", "external"}


def test_an_external_set_takes_more_an_image_than_a_test_set_which_is_a_share_of_all() -> None:
    for figures in BUILT_IN.values():
        assert figures["external"].each > figures["logits"].each > figures["champion"].each > 0
