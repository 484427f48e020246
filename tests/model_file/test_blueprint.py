"""A configuration is read as data: bounded, unambiguous, and compared to the last value."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import model_files as files
import pytest

from skin_pipeline.model_file.blueprint import difference, recipe_of
from skin_pipeline.model_file.building import Recipe
from skin_pipeline.training.container import Foreign
from skin_pipeline.training.pixels import Pixels
from skin_pipeline.training.strategies import STRATEGIES

Change = Callable[[Any], object]


@pytest.fixture(autouse=True)
def tiny_backbone() -> Iterator[None]:
    with files.tiny_backbone():
        yield


def config_of(**how: Any) -> Any:
    """The configuration of a released model, as its file has it."""
    return json.loads(files.members_of(files.file_of(**how))["config.json"])


# --- what to build --------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("runs", "views", "regions"), [(1, 1, 1), (2, 2, 2), (3, 8, 1), (2, 8, 2)])
def test_the_recipe_is_what_the_model_was_built_from(
    strategy: str, runs: int, views: int, regions: int
) -> None:
    config = config_of(strategy=strategy, runs=runs, views=views, regions=regions)
    expected = Recipe(files.TINY, strategy, runs, 16, 20, views, 1 / 1.3, regions=regions)
    assert recipe_of(config) == expected


def setting(name: str, key: str, value: Any) -> Change:
    return lambda config: files.layer(config, name)["config"].update({key: value})


def without(name: str) -> Change:
    def change(config: Any) -> None:
        inner = config["config"]
        inner["layers"] = [item for item in inner["layers"] if item["name"] != name]

    return change


def renamed(name: str, other: str) -> Change:
    return lambda config: files.layer(config, name).update(name=other)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("field_of_view"), "no layer field_of_view"),
        (without("calibrated"), "no layer calibrated"),
        (setting("field_of_view", "height", 7), "'7' for height; 8 to 512"),
        (setting("field_of_view", "height", 513), "'513' for height; 8 to 512"),
        (setting("field_of_view", "height", 16.0), r"'16\.0' for height"),
        (setting("field_of_view", "height", True), "'True' for height"),
        (setting("centre_square", "height", 1025), "'1025' for height; 8 to 1024"),
        (setting("calibrated", "scale", 1), "'1' for scale"),
        (setting("calibrated", "scale", 21.0), r"'21\.0' for scale"),
        (setting("calibrated", "scale", -1.0), r"'-1\.0' for scale"),
        (renamed("run_1", "run_2"), "not 1 to 20 networks run_0, run_1"),
        (lambda config: config["config"].update(layers="none"), "no layer"),
    ],
)
def test_a_model_that_is_never_made_so_has_no_recipe(change: Change, said: str) -> None:
    config = config_of()
    change(config)
    with pytest.raises(Foreign, match=said):
        recipe_of(config)


PIXELS = Pixels((0.028, 0.026, 0.023), (-5.4, -3.6, -3.3))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_recipe_says_how_pixels_are_scaled_for_weights_of_others(strategy: str) -> None:
    assert recipe_of(config_of(strategy=strategy, pixels=PIXELS)).pixels == PIXELS
    assert recipe_of(config_of(strategy=strategy)).pixels is None


@pytest.mark.parametrize("key", ["scale", "offset"])
@pytest.mark.parametrize(
    "value",
    [1.0, None, [1.0, 2.0], [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3], [1.0, 2.0, 1e7], ["1"] * 3],
)
def test_a_scaling_of_pixels_that_no_model_has_is_refused(key: str, value: Any) -> None:
    config = config_of(pixels=PIXELS)
    files.layer(config, "pixels")["config"][key] = value
    with pytest.raises(Foreign, match=f"its layer pixels has .* for {key}"):
        recipe_of(config)


@pytest.mark.parametrize("regions", [1, 2])
def test_the_recipe_says_in_which_numbers_an_earlier_model_scales_images(regions: int) -> None:
    with files.as_before():
        earlier = files.serialised(files.released(regions=regions))
    assert recipe_of(earlier).scaled == "float32"
    assert recipe_of(config_of(regions=regions)).scaled == "uint8"


@pytest.mark.parametrize("dtype", ["int8", "float16", ["uint8"], None, 8])
def test_numbers_in_which_no_model_scales_images_are_refused(dtype: Any) -> None:
    config = config_of()
    files.layer(config, "centre_square")["config"]["dtype"]["config"]["name"] = dtype
    with pytest.raises(Foreign, match=r"centre_square has .* for dtype; uint8 or float32"):
        recipe_of(config)


@pytest.mark.parametrize("views", [1, 3, 32, 0, "2"])
def test_views_that_no_model_has_are_refused(views: Any) -> None:
    config = config_of()
    for layer in files.layers(config):
        if layer["class_name"] == "Reshape":
            layer["config"]["newshape"] = [views, -1, 1]
    with pytest.raises(Foreign, match="its views cannot be told"):
        recipe_of(config)


def test_a_network_that_the_pipeline_does_not_know_is_refused() -> None:
    config = config_of()
    config = json.loads(json.dumps(config).replace('"third"', '"another"'))
    with pytest.raises(Foreign, match=r"its network is none of .*ResNet50"):
        recipe_of(config)


@pytest.mark.parametrize("config", [None, [], {}, "text", 1, {"config": []}])
def test_what_is_no_configuration_has_no_recipe(config: Any) -> None:
    with pytest.raises(Foreign, match="is no model of ours"):
        recipe_of(config)


# --- whether it was built so ----------------------------------------------------------------------

OURS: dict[str, Any] = {
    "name": "outer",
    "layers": [
        {"name": "dense", "units": 1, "on": True, "rate": 1.0},
        {"name": "dense_1", "units": 2, "inbound": ["dense"]},
    ],
}


def changed(change: Change) -> Any:
    theirs = copy.deepcopy(OURS)
    change(theirs)
    return theirs


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: None, None),
        (lambda c: c["layers"][0].update(units=2), r"config\.layers\[0\]\.units is '2' instead"),
        (lambda c: c["layers"][0].update(units=1.0), r"units is '1\.0' instead of '1'"),
        (lambda c: c["layers"][0].update(units=True), "units is 'True' instead of '1'"),
        (lambda c: c["layers"][0].update(on=1), "on is '1' instead of 'True'"),
        (lambda c: c["layers"][0].update(rate=1), r"rate is '1' instead of '1\.0'"),
        (lambda c: c["layers"].pop(), "layers has 1 items instead of 2"),
        (lambda c: c["layers"][0].update(x=1), r"layers\[0\] says 'x', of which ours says nothing"),
        (lambda c: c["layers"][0].pop("on"), r"layers\[0\] does not say 'on'"),
        (lambda c: c["layers"][0].update(shared_object_id=7), None),
        (lambda c: c["layers"][0].update(shared_object_id="7"), "instead of 'a number'"),
        (lambda c: c["layers"][0].update(shared_object_id={}), "instead of 'a number'"),
        (lambda c: c["layers"][0].update(name="conv"), "name is 'conv' instead of 'dense'"),
    ],
)
def test_the_first_difference_is_named(change: Change, said: str | None) -> None:
    found = difference(OURS, changed(change), same_version=True)
    if said is None:
        assert found is None
    else:
        assert found is not None
        assert re.search(said, found)


def renumbered(first: str, second: str, inbound: str) -> Any:
    theirs = copy.deepcopy(OURS)
    theirs["layers"][0]["name"], theirs["layers"][1]["name"] = first, second
    theirs["layers"][1]["inbound"] = [inbound]
    return theirs


def test_numbers_that_keras_gave_may_differ_if_they_mean_the_same_layers() -> None:
    assert difference(OURS, renumbered("dense_7", "dense_8", "dense_7"), same_version=True) is None
    for first, second, inbound in (
        ("dense_7", "dense_8", "dense_8"),  # reads itself
        ("dense_7", "dense_7", "dense_7"),  # two of one name
    ):
        theirs = renumbered(first, second, inbound)
        assert difference(OURS, theirs, same_version=True) is not None


def test_keys_of_one_version_only_are_not_compared_with_another() -> None:
    more = changed(lambda c: c["layers"][0].update(x=1))
    less = changed(lambda c: c["layers"][0].pop("on"))
    for theirs in (more, less):
        assert difference(OURS, theirs, same_version=False) is None
        assert difference(OURS, theirs, same_version=True) is not None


def test_names_mean_something_in_their_own_network_only() -> None:
    """Two networks within one model may both have a `dense_3`."""
    ours = {"layers": [{"config": OURS}, {"config": OURS}]}
    one, other = (
        renumbered("dense_3", "dense_4", "dense_3"),
        renumbered("dense_9", "dense", "dense_9"),
    )
    theirs = {"layers": [{"config": one}, {"config": other}]}
    assert difference(ours, theirs, same_version=True) is None


def test_a_configuration_does_not_differ_from_itself() -> None:
    config = config_of(strategy="fine_tune")
    assert difference(config, copy.deepcopy(config), same_version=True) is None


def test_a_model_that_was_released_with_its_crop_called_as_in_training_is_still_one() -> None:
    with files.as_before():
        config = files.serialised(files.released())
    earlier = copy.deepcopy(config)
    crop = earlier["config"]["layers"][2]
    assert crop["name"] == "field_of_view"
    crop["inbound_nodes"][0]["kwargs"]["training"] = True
    assert difference(config, earlier, same_version=True) is None
    crop["inbound_nodes"][0]["kwargs"]["training"] = 1
    assert difference(config, earlier, same_version=True) is not None
