"""Sensitivity and specificity against the share of images that get a decision."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from skin_pipeline.contracts import Abstention
from skin_pipeline.evaluation import answering, familiarity
from skin_pipeline.evaluation.metrics import Predictions
from skin_pipeline.intervals import proportion

COUNT = 1000
LABELS = np.arange(COUNT) % 2
LOGITS = np.random.default_rng(2).normal(1.2 * LABELS - 0.6, 1)
SEEN = Predictions(np.asarray(expit(LOGITS)), 0.5)
KNOWN = np.random.default_rng(5).uniform(size=COUNT)


def test_with_every_image_the_curve_begins_at_the_figures_themselves() -> None:
    first = answering.curve(SEEN, LABELS, KNOWN, Abstention())[0]
    called = LOGITS >= 0
    assert (first.way, first.share, first.images) == ("near", 1.0, COUNT)
    assert first.sensitivity == proportion(int((called & (LABELS == 1)).sum()), COUNT // 2)
    assert first.specificity == proportion(int((~called & (LABELS == 0)).sum()), COUNT // 2)


def test_each_way_leaves_out_the_images_that_it_says() -> None:
    curve = answering.curve(SEEN, LABELS, KNOWN, Abstention())
    margins = familiarity.margin(SEEN.probabilities, 0.5)
    for point in curve:
        values = {"near": margins, "unusual": KNOWN}[point.way]
        kept = values >= np.quantile(values, 1 - point.share)
        assert point.images == pytest.approx(point.share * COUNT, abs=1)
        assert point.sensitivity.value == pytest.approx(
            (LOGITS >= 0)[kept & (LABELS == 1)].mean(), abs=0.005
        )
        assert point.specificity.value == pytest.approx(
            (LOGITS < 0)[kept & (LABELS == 0)].mean(), abs=0.005
        )


def test_mistakes_are_near_the_threshold_so_fewer_decisions_are_better_ones() -> None:
    near = [
        point for point in answering.curve(SEEN, LABELS, KNOWN, Abstention()) if point.way == "near"
    ]
    found = [point.sensitivity.value for point in near]
    assert found == sorted(found)
    assert found[-1] > found[0] + 0.1


@pytest.mark.parametrize("count", [COUNT, 0])
def test_a_model_that_knows_no_familiarity_has_the_other_curve_only(count: int) -> None:
    nothing = np.full(count, np.nan)
    seen = Predictions(SEEN.probabilities[:count], 0.5)
    curve = answering.curve(seen, LABELS[:count], nothing, Abstention())
    assert {point.way for point in curve} == {"near"}
    assert [point.share for point in curve] == list(answering.SHARES)
