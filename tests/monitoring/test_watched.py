"""What is watched of rows of the log, and its values in the reference."""

from __future__ import annotations

import numpy as np
import pytest
import watched_days

from skin_pipeline.monitoring import watched
from skin_pipeline.monitoring.measures import NAMES


def test_everything_in_the_log_is_watched() -> None:
    names = [feature.name for feature in watched.features(watched_days.reference_of())]
    assert {*NAMES, "distance", "novelty", "probability", "malignant"} < set(names)
    assert names[-2:] == ["unreadable", "abstained"]
    assert set(names) == set(watched.values_of(watched_days.rows(0), watched_days.DIMENSIONS))


def test_an_image_that_could_not_be_read_has_no_values_but_that() -> None:
    rows = watched_days.rows(0, count=4, unreadable=0.5)
    found = watched.values_of(rows, watched_days.DIMENSIONS)
    assert found.pop("unreadable").tolist() == [1, 1, 0, 0]
    for name, values in found.items():
        assert np.isfinite(values).tolist() == [False, False, True, True], name


def test_an_image_without_a_decision_is_counted() -> None:
    rows = watched_days.rows(0, count=3)
    rows["abstained"] = [True, False, None]
    assert watched.values_of(rows, watched_days.DIMENSIONS)["abstained"].tolist() == [1, 0, 0]


def test_embeddings_of_another_version_are_no_values() -> None:
    rows = watched_days.rows(0, count=2)
    rows["embedding"] = [rows["embedding"][0], [1.0]]
    novelty = watched.values_of(rows, watched_days.DIMENSIONS)["novelty"]
    assert np.isfinite(novelty).tolist() == [True, False]


def test_without_a_trunk_nothing_of_it_is_watched() -> None:
    assert watched.in_space(np.zeros((5, 0))) == {}
    assert "novelty" not in watched.values_of(watched_days.rows(0), 0)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.7])
def test_a_reference_can_have_the_share_of_malignant_images_that_is_expected(share: float) -> None:
    whole = watched_days.reference_of(count=1000)
    part = watched.at_share(whole, share)
    assert part.malignant.mean() == pytest.approx(share, abs=0.005)
    assert len(part.measures) == len(part.embedding) == len(part.group) == len(part) > 300
    assert set(part.group) < set(whole.group)
    # Each image keeps its own values.
    np.testing.assert_array_equal(part.probability, whole.probability[part.group])


def test_without_an_expectation_the_reference_is_whole() -> None:
    whole = watched_days.reference_of()
    assert watched.at_share(whole, 0) is whole


def test_ties_depend_on_the_image_alone() -> None:
    found = watched.ties(["a", "b", "\ud800"], 4)
    assert found.shape == (4, 3)
    np.testing.assert_array_equal(found[:, 1], watched.ties(["b"], 4)[:, 0])
    assert len(np.unique(found)) == 12
