"""What computes within a network is listed, however its configuration is written."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import foreign_models as foreign
import keras
import pytest

from skin_pipeline.training.transplant import serialised
from skin_pipeline.training.wiring import within

ENDS = {"block1_conv1", "end"}


def kinds(found: Counter[str]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for words, number in found.items():
        counted[words.partition("(")[0]] += number
    return counted


def test_what_stands_between_layers_is_listed_with_its_settings() -> None:
    found = within(serialised(foreign.network(top=True)), ENDS)
    assert kinds(found) == {
        **{"Conv2D": 3, "BatchNormalization": 3, "SeparableConv2D": 1},
        **{"MaxPooling2D": 1, "Add": 1, "Activation": 1},
    }
    assert any("strides=[2, 2]" in words and "Conv2D" in words for words in found)


def test_a_branch_that_ends_elsewhere_is_not_between() -> None:
    config = serialised(foreign.network())
    assert kinds(within(config, {"block1_conv1", "block2_sepconv1"})) == {
        "Conv2D": 1,
        "SeparableConv2D": 1,
    }


@pytest.mark.parametrize(
    "shape", ["within another", "in a sequence", "behind augmentation", "flat"]
)
def test_a_network_is_the_same_wherever_it_stands(shape: str) -> None:
    model = foreign.SHAPES[shape](1)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    assert within(config, ENDS) == within(serialised(foreign.network()), ENDS)


def of_keras_2(*layers: tuple[str, str, str]) -> Any:
    """A configuration in which layers say what they read as Keras 2 wrote it."""
    return {
        "class_name": "Functional",
        "config": {
            "layers": [
                {
                    "class_name": kind,
                    "name": name,
                    "config": {"name": name, "activation": "swish"},
                    "inbound_nodes": [[[read, 0, 0, {}]]] if read else [],
                }
                for name, kind, read in layers
            ]
        },
    }


def test_what_older_versions_wrote_is_understood() -> None:
    config = of_keras_2(*(
        ("a", "Conv2D", ""),
        ("d", "Dropout", "a"),
        ("b", "Lambda", "d"),
        ("c", "Conv2D", "b"),
    ))
    expected = {'Conv2D(activation="silu")': 2, 'Lambda(activation="silu")': 1}
    assert within(config, {"a", "c"}) == expected


@pytest.mark.parametrize(
    ("function", "told"),
    [("__operators__.add", "Add"), ("math.subtract", "TFOpLambda"), (["x"], "TFOpLambda")],
)
def test_an_operation_of_keras_2_is_known_by_its_function(function: Any, told: str) -> None:
    config = of_keras_2(("a", "Conv2D", ""), ("b", "Conv2D", "a"), ("sum", "TFOpLambda", "b"))
    operation = config["config"]["layers"][2]
    operation["config"] = {"name": "sum", "function": function}
    # What it adds stands among the arguments of what it is added to.
    operation["inbound_nodes"] = [["b", 0, 0, {"y": ["c", 0, 0], "name": None}]]
    config["config"]["layers"].append({
        **{"class_name": "ReLU", "name": "c", "config": {}},
        "inbound_nodes": [[["a", 0, 0, {}]]],
    })
    found = kinds(within(config, {"a", "sum"}))
    assert found == {"Conv2D": 2, "ReLU": 1, told: 1}


@pytest.mark.parametrize(
    "config", [None, [], {}, {"config": None}, {"config": {"layers": [1, {"name": "a"}]}}]
)
def test_what_is_no_configuration_has_nothing(config: Any) -> None:
    assert within(config, {"b"}) == Counter()


def test_a_circle_of_layers_is_walked_once() -> None:
    config = of_keras_2(("a", "Conv2D", "b"), ("b", "Conv2D", "a"))
    assert sum(within(config, {"a"}).values()) == 2
