"""What a network is shown of an image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from skin_pipeline.config import Settings
from skin_pipeline.contracts import Views
from skin_pipeline.training import corruptions
from skin_pipeline.training.views import View, dihedral, learned_from, views_of

IMAGES = np.random.default_rng(0).integers(0, 255, (5, 16, 16, 3), dtype=np.uint8)


def test_the_eight_views_are_the_symmetries_of_the_square() -> None:
    square = IMAGES[:1]
    views = {dihedral(square, view).tobytes() for view in range(8)}
    assert len(views) == 8
    turned = {np.rot90(square, k, axes=(1, 2)).tobytes() for k in range(4)}
    mirrored = {np.rot90(square[:, :, ::-1], k, axes=(1, 2)).tobytes() for k in range(4)}
    assert views == turned | mirrored


def test_the_first_view_is_the_image_itself() -> None:
    assert dihedral(IMAGES, 0) is IMAGES
    assert np.array_equal(View(0).of(IMAGES), IMAGES)


def test_the_dihedral_views_come_first_so_that_a_score_has_no_corrupted_copy() -> None:
    shown = views_of(Views(dihedral=2, copies=3, corruptions=("jpeg", "crop")))
    kinds = ("crop", "jpeg")  # in the order in which they happen
    assert shown == [View(0), View(1), View(0, kinds), View(1, kinds), View(2, kinds)]


def test_each_view_is_of_both_squares_before_the_next_view() -> None:
    shown = views_of(Views(dihedral=2, regions=2, copies=3, corruptions=("jpeg",)))
    seen = [(view.number, view.region, bool(view.corruptions)) for view in shown]
    dihedral_ones = [(0, 0, False), (0, 1, False), (1, 0, False), (1, 1, False)]
    # Copies are of one square after the other.
    assert seen == [*dihedral_ones, (0, 0, True), (1, 1, True), (2, 0, True)]


@pytest.mark.parametrize("kinds", [(), ("light", "jpeg")])
@pytest.mark.parametrize("number", [0, 3])
def test_a_view_of_a_square_is_that_of_the_square_alone(
    number: int, kinds: tuple[str, ...]
) -> None:
    packed = np.concatenate([IMAGES, 255 - IMAGES[:, ::-1]], axis=1)
    for region, squares in enumerate((IMAGES, 255 - IMAGES[:, ::-1])):
        seen = View(number, kinds, region).of(packed)
        np.testing.assert_array_equal(seen, View(number, kinds).of(squares))


def test_views_have_names_of_their_own_and_dihedral_ones_those_of_earlier_versions() -> None:
    shown = views_of(Views(dihedral=4, copies=2, corruptions=("light", "blur")))
    assert [view.name for view in shown] == ["0", "1", "2", "3", "light-blur-0", "light-blur-1"]
    both = views_of(Views(dihedral=2, regions=2, copies=2, corruptions=("light", "blur")))
    assert len({view.name for view in both}) == len(both) == 6
    assert {view.name for view in both if not view.region} < {view.name for view in shown}


@pytest.mark.parametrize("view", [View(0), View(3), View(1, ("light", "frame"))])
def test_an_image_looks_the_same_in_a_view_whichever_images_it_stands_between(view: View) -> None:
    order = np.array([3, 0, 4])
    assert np.array_equal(view.of(IMAGES[order]), view.of(IMAGES)[order])
    assert view.of(IMAGES[:0]).shape == IMAGES[:0].shape


def test_a_corrupted_view_is_the_corrupted_copy_of_its_number() -> None:
    kinds = tuple(corruptions.KINDS)
    seen = View(2, kinds).of(IMAGES)
    for image, copy in zip(IMAGES, seen, strict=True):
        assert np.array_equal(copy, corruptions.corrupted(image, kinds, 2))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"corrupted": 0, "views": 8, "regions": "centre"}, Views(dihedral=8)),
        (
            {"corrupted": 3, "corruptions": "jpeg, blur,jpeg"},
            Views(dihedral=2, regions=2, copies=3, corruptions=("blur", "jpeg")),
        ),
        (
            {"views": 4},
            Views(dihedral=4, regions=2, copies=2, corruptions=tuple(corruptions.KINDS)),
        ),
    ],
)
def test_a_run_learns_from_the_views_of_its_settings(given: dict[str, Any], shown: Views) -> None:
    settings = Settings(**given)
    assert learned_from(settings) == shown
    assert settings.learned_views == len(views_of(shown))


def test_the_number_of_views_in_a_document_of_an_earlier_version_is_understood() -> None:
    assert Views.model_validate(4) == Views(dihedral=4)
