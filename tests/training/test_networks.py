"""Every network of keras.applications is known by its layers, and where it is taken apart."""

from __future__ import annotations

from typing import get_args

import keras
import pytest
from random_network import ALL, loaded, size_of

from skin_pipeline.config import Settings
from skin_pipeline.config.training import LEAST, Backbone
from skin_pipeline.errors import BadInput
from skin_pipeline.operations import figures
from skin_pipeline.training import networks


def test_the_setting_the_costs_and_the_table_name_the_same_networks() -> None:
    assert tuple(networks.BACKBONES) == get_args(Backbone) == tuple(figures.SIZES)


def test_all_networks_of_keras_are_there_but_those_that_cannot_be_used() -> None:
    builders = {
        name for name in dir(keras.applications) if callable(getattr(keras.applications, name))
    }
    left_out = {"NASNetMobile", "NASNetLarge", "ConvNeXtXLarge"}
    assert builders - set(networks.BACKBONES) == left_out


@pytest.mark.parametrize("name", ALL)
def test_stages_lie_where_the_maps_become_smaller(name: str) -> None:
    made = loaded(name)
    sides = [end.shape[1] for end in made.ends]
    assert size_of(name) > sides[0] >= sides[1] >= sides[2]
    assert sides[0] > sides[2]
    # All that the third stage computes is computed from the second one's end.
    assert made.last_stage(training=False).output.shape[1:] == made.ends[2].shape[1:]


@pytest.mark.parametrize("name", networks.BACKBONES)
@pytest.mark.parametrize("stages", [2, 3])
def test_no_two_networks_have_the_same_layers(name: str, stages: int) -> None:
    spec = networks.BACKBONES[name]
    names = [(one, 0) for one in (spec.mark, *spec.stages[:stages])]
    filters = spec.filters[stages - 1]
    assert networks.recognised([*names, ("rest", filters)]) == (name, stages)
    assert networks.recognised([*names, ("rest", filters + 1)]) is None


def test_no_layers_are_no_network() -> None:
    assert networks.recognised([]) is None


def test_names_with_a_number_of_keras_are_known_too() -> None:
    names = ("mixed2", "mixed7_1", "mixed10_12")
    assert networks.candidates(names) == ["InceptionV3"]
    assert networks.candidates(("mixed2", "mixed7")) == []


@pytest.mark.parametrize(("name", "least"), LEAST.items())
def test_images_that_are_too_small_are_refused_by_the_settings_and_by_the_network(
    name: str, least: int
) -> None:
    said = f"{name} needs image_size={least} or more. Received: {least - 1}"
    with pytest.raises(ValueError, match=said):
        Settings(backbone=name, image_size=least - 1)
    assert Settings(backbone=name, image_size=least).image_size == least
    with pytest.raises(BadInput, match=said):
        networks.whole(keras, name, least - 1)


def test_the_smallest_images_of_the_settings_suit_all_other_networks() -> None:
    too_small = {name: s.least for name, s in networks.BACKBONES.items() if s.least > 64}
    assert too_small == LEAST
