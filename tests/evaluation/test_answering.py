"""Sensitivity and specificity against the share of images that get a decision."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
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


# --- by the settings of a version ----------------------------------------------------------------


def test_a_version_that_abstains_has_a_point_of_its_own() -> None:
    rule = Abstention(margin=0.4, near=0.1, familiarity=0.2)
    *_, own = answering.curve(SEEN, LABELS, KNOWN, rule)
    kept = (np.abs(LOGITS) >= 0.4) & (KNOWN >= 0.2)
    called = LOGITS >= 0
    assert (own.way, own.images) == ("set", int(kept.sum()))
    assert own.share == pytest.approx(kept.mean())
    malignant = kept & (LABELS == 1)
    assert own.sensitivity == proportion(int(called[malignant].sum()), int(malignant.sum()))


@given(
    margins=st.tuples(st.floats(0, 5), st.floats(0, 5)).map(sorted),
    bounds=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted),
)
def test_more_abstention_never_answers_more(margins: list[float], bounds: list[float]) -> None:
    less, more = (
        familiarity.abstained(Abstention(margin=m, familiarity=f), SEEN.probabilities, KNOWN, 0.5)
        for m, f in zip(margins, bounds, strict=True)
    )
    assert (less <= more).all()


@given(st.integers(0, 60), st.integers(0, 2**32 - 1))
def test_of_any_images_the_curve_has_the_share_that_it_says(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    seen = Predictions(random.choice([0.1, 0.4, 0.5, 0.9], count), 0.4)  # many are equal
    labels, known = random.integers(0, 2, count), random.choice([0.1, 1.0], count)
    curve = answering.curve(seen, labels, known, Abstention())
    for way in {point.way for point in curve}:
        images = [point.images for point in curve if point.way == way]
        assert images == [round(share * count) for share in answering.SHARES]
