"""The knobs of the data: what is synthetic, and what names what."""

from __future__ import annotations

import pytest

from skin_pipeline.config import Settings, read_settings


def test_synthetic_models_have_a_name_of_their_own() -> None:
    assert Settings(data="demo", model_name="skin").released_as == "skin-synthetic"
    assert Settings(data="some/folder", model_name="skin").released_as == "skin"


@pytest.mark.parametrize(
    ("data", "synthetic"), [("demo", True), ("demo/set", False), ("x/demo", False)]
)
def test_only_what_is_drawn_here_is_synthetic(data: str, synthetic: bool) -> None:
    assert Settings(data=data).synthetic is synthetic
    assert Settings(data=data).released_as.endswith("-synthetic") is synthetic


def test_external_sets_are_named_places() -> None:
    assert Settings(external="isic2017=/data/i, b=s3://bucket/x=y").external_sets == {
        "isic2017": "/data/i",
        "b": "s3://bucket/x=y",
    }
    assert Settings().external_sets == {}


@pytest.mark.parametrize("name", ["malignant_values", "benign_values"])
def test_values_of_one_class_are_enough_to_name_folders_by(name: str) -> None:
    assert not Settings().names_values
    assert read_settings({name: "somebody's own"}).names_values
