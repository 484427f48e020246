"""A configuration is read as data: bounded, unambiguous, and a tree of layers."""

from __future__ import annotations

import json

import model_files as files
import pytest

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
