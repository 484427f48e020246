"""How usual an image is to a model, and when the model abstains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from skin_pipeline.contracts import Abstention
from skin_pipeline.errors import BadInput
from skin_pipeline.evaluation import familiarity
from skin_pipeline.storage import FolderStore

CHANNELS = 40
RANDOM = np.random.default_rng(3)
MIXED = RANDOM.normal(size=(8, CHANNELS))
SPREAD = np.linspace(0.5, 3, CHANNELS)


def pooled(count: int, seed: int, malignant: NDArray[Any] | None = None) -> NDArray[np.float32]:
    """Features of images: few directions, much spread, and two classes that are apart."""
    random = np.random.default_rng(seed)
    latent = random.normal(size=(count, 8))
    if malignant is not None:
        latent[:, 0] += 3 * malignant
    values = latent @ MIXED + SPREAD * random.normal(size=(count, CHANNELS)) + 5
    return np.asarray(values, np.float32)


LABELS = np.arange(400) % 2
KNOWN = familiarity.fitted(pooled(400, 1, LABELS), LABELS, pooled(500, 2, np.arange(500) % 2))


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_of_new_images_of_the_same_origin_so_many_are_unusual_as_was_asked_for(
    share: float,
) -> None:
    new = KNOWN.of(pooled(4000, 4, np.arange(4000) % 2))
    assert float((new < share).mean()) == pytest.approx(share, abs=0.03)


def test_an_image_that_is_like_no_other_is_unusual_however_it_differs() -> None:
    usual = pooled(50, 5, np.arange(50) % 2)
    direction = np.random.default_rng(9).normal(size=CHANNELS)
    for strange in (usual + 9 * direction, usual * 4, usual * 0):
        assert KNOWN.of(np.asarray(strange, np.float32)).max() < 0.02


def test_between_the_classes_an_image_is_no_more_usual_than_at_one_of_them() -> None:
    """One cloud around both classes would find it the most usual of all."""
    centres = [pooled(400, 1, LABELS)[label == LABELS].mean(axis=0) for label in (0, 1)]
    middle = np.mean(centres, axis=0)
    ends, between = (KNOWN.of(np.asarray(values, np.float32)) for values in (centres, [middle]))
    assert ends.min() > between[0]


def test_familiarity_is_the_share_of_validation_images_that_are_as_far_away() -> None:
    distances = np.array([1.0, 2.0, 4.0, 8.0])
    known = familiarity.Familiarity(KNOWN.space, KNOWN.means, KNOWN.precision, distances)
    images = pooled(30, 7)
    found, away = known.of(images), known.distance(images)
    for value, distance in zip(found, away, strict=True):
        assert value == (1 + sum(distances >= distance)) / 5


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    familiarity.write(tmp_path / "known.npz", KNOWN)
    again = familiarity.read(tmp_path / "known.npz")
    images = pooled(20, 8)
    assert np.array_equal(again.of(images), KNOWN.of(images))


@pytest.mark.parametrize("lost", [*familiarity.NAMES])
def test_a_file_without_one_of_its_arrays_is_refused(tmp_path: Path, lost: str) -> None:
    kept = {name: array for name, array in KNOWN.arrays().items() if name != lost}
    np.savez(tmp_path / "known.npz", **kept)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"it has no {lost}"):
        familiarity.read(tmp_path / "known.npz")
    store = FolderStore(tmp_path / "store")
    store.put_file("known.npz", tmp_path / "known.npz")
    with pytest.raises(BadInput, match=f"known.npz is damaged: it has no {lost}"):
        familiarity.of_store(store, "known.npz")


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("means", np.zeros((2, 3)), "do not fit together"),
        ("means", np.zeros((1, 32)), "do not fit together"),
        ("centre", np.zeros(3), "do not fit together"),
        ("centre", np.float64(3), "do not fit together"),
        ("spread", np.zeros(3), "do not fit together"),
        ("axes", np.zeros(3), "do not fit together"),
        ("precision", np.zeros((2, 2)), "do not fit together"),
        ("distances", np.zeros((2, 2)), "do not fit together"),
        ("distances", np.array([1.0, np.nan]), "other values than finite numbers"),
        ("distances", np.array(["1", "2"]), "other values than finite numbers"),
        ("axes", np.array([{"a": 1}], object), "Python objects"),
    ],
)
def test_a_file_that_could_not_be_used_is_refused(
    tmp_path: Path, name: str, value: Any, problem: str
) -> None:
    np.savez(tmp_path / "known.npz", **{**KNOWN.arrays(), name: value})
    with pytest.raises(ValueError, match=problem):
        familiarity.read(tmp_path / "known.npz")


# --- decisions -----------------------------------------------------------------------------------


def test_without_a_share_a_model_never_abstains() -> None:
    rule = familiarity.abstention(np.array([0.2, 0.5]), 0.5, near=0.0, unusual=0.0)
    assert rule == Abstention()
    assert rule.never
    rare = np.array([1e-6, 1.0])
    assert not familiarity.abstained(rule, np.array([0.5, 0.9]), rare, 0.5).any()


@pytest.mark.parametrize("near", [0.05, 0.1, 0.4])
def test_the_margin_is_what_the_share_of_validation_images_are_nearer_than(near: float) -> None:
    held_out = expit(np.random.default_rng(1).normal(0.4, 2, size=1000))
    rule = familiarity.abstention(held_out, 0.3, near=near, unusual=0.0)
    unsure = familiarity.abstained(rule, held_out, np.full(1000, np.nan), 0.3)
    assert unsure.mean() == pytest.approx(near, abs=0.002)
    sides = held_out[unsure]
    assert sides.min() < 0.3 < sides.max()


def test_certain_probabilities_are_far_from_a_threshold_and_an_infinite_one_is_too() -> None:
    found = familiarity.margin(np.array([0.0, 0.4, 0.5, 1.0]), 0.4)
    assert np.isfinite(found).all()
    assert found[1] == 0
    assert found[0] > found[2] < found[3]


def test_an_unusual_image_gets_no_decision_however_certain_the_model_is() -> None:
    rule = Abstention(margin=0.5, familiarity=0.05)
    probabilities = np.array([0.99, 0.99, 0.52, 0.52, 0.99])
    known = np.array([0.04, 0.05, 0.9, 0.01, np.nan])
    assert familiarity.abstained(rule, probabilities, known, 0.5).tolist() == [
        *(True, False, True, True, False)
    ]
