"""A configuration is read as data: bounded, unambiguous, and a tree of layers."""

from __future__ import annotations

import json

import model_files as files
import pytest

from skin_pipeline.training import configuration
from skin_pipeline.training.configuration import parsed
from skin_pipeline.training.container import Foreign

# --- JSON as Keras writes it ----------------------------------------------------------------------


def test_what_keras_writes_is_parsed() -> None:
    data = files.members_of(files.file_of())["config.json"]
    assert parsed(data, "config.json") == json.loads(data)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "damaged config.json"),
        ('{"a": 1, "a": 2}', "a key twice"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ('{"a": 1e999}', "a number without end"),
        (f'{{"a": {"1" * 21}}}', "a number of 21 digits"),
        (f'{{"a": "{"x" * 10_001}"}}', "a text of 10001 characters"),
        (f'{{"{"x" * 10_001}": 1}}', "a text of 10001 characters"),
        ("[" * 65 + "]" * 65, "nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_json_that_is_ambiguous_or_extreme_is_refused(text: str, said: str) -> None:
    with pytest.raises(Foreign, match=said):
        parsed(text.encode(), "config.json")


def test_json_at_the_bounds_is_parsed() -> None:
    text = json.dumps({"x" * 10_000: ["1" * 10_000, 10**19]})
    assert parsed(text.encode(), "config.json") == json.loads(text)
    deep = "[" * 63 + "]" * 63
    assert parsed(deep.encode(), "config.json") == json.loads(deep)


def model_of(*layers: object) -> dict[str, object]:
    return {"class_name": "Functional", "config": {"layers": list(layers)}}


def layer_of(name: str, **config: object) -> dict[str, object]:
    return {"class_name": "Conv2D", "name": name, "config": config}


def test_the_layers_of_a_model_and_of_those_within_it_are_listed_with_their_filters() -> None:
    inner = {**model_of(layer_of("b", filters=3)), "name": "inner"}
    model = model_of(layer_of("a", filters=2), inner, layer_of("c"))
    assert configuration.widths(model) == [("a", 2), ("inner", 0), ("c", 0), ("b", 3)]
    assert list(configuration.models(model)) == [model, inner]


@pytest.mark.parametrize("filters", ["9", None, True, 1.5, [3]])
def test_filters_that_are_no_number_count_nothing(filters: object) -> None:
    assert configuration.widths(model_of(layer_of("a", filters=filters))) == [("a", 0)]


@pytest.mark.parametrize(
    "value", [None, 3, "x", [], {}, {"config": 1}, {"config": {"layers": 1}}, model_of(1, {}, [])]
)
def test_what_does_not_look_like_a_model_has_no_layers(value: object) -> None:
    assert configuration.layers(value) == []
    assert configuration.widths(value) == []


def test_a_layer_may_have_its_name_in_its_settings_only() -> None:
    assert configuration.name_of({"config": {"name": "a"}}) == "a"
    assert configuration.name_of({"name": 3}) == ""


def test_models_are_looked_for_only_so_deep() -> None:
    model = model_of(layer_of("last"))
    for _ in range(configuration.MOST_NESTED + 2):
        model = model_of({**model, "name": "inner"})
    assert len(list(configuration.models(model))) == configuration.MOST_NESTED + 1
