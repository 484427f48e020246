"""How documents are compared with what is computed again; see also release/test_chain.py."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import documents
import numpy as np
import pandas as pd
import pytest

from skin_pipeline.config import Settings
from skin_pipeline.contracts import Abstention, Interval, Proof
from skin_pipeline.errors import BadInput
from skin_pipeline.evaluation import rejudging
from skin_pipeline.evaluation.metrics import Predictions
from skin_pipeline.evaluation.rejudging import TOLERANCE, difference, plain


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (0.5, 0.5 + TOLERANCE / 10),
        (math.nan, math.nan),
        ("approved", "approved"),
        ([1, {"a": 2.0}], (1, {"a": 2.0})),
        ({}, {}),
    ],
)
def test_equal_values_have_no_difference(said: Any, found: Any) -> None:
    assert difference("name", said, found) == ""


@pytest.mark.parametrize(
    ("said", "found", "text"),
    [
        (0.5, 0.5 + 10 * TOLERANCE, "name is 0.5, computed again 0.50001"),
        (0.5, math.nan, "name is 0.5, computed again nan"),
        (1, 1.0, "name is 1, computed again 1.0"),
        (True, 1, "name is True, computed again 1"),
        (None, {"a": 1}, "name is None, computed again {'a': 1}"),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, "name.b is 2, computed again 3"),
        ({"a": 1}, {}, "name.a is 1, computed again None"),
        ({}, {"a": 1}, "name.a is None, computed again 1"),
        ([1, 2], [1, 3], "name.1 is 2, computed again 3"),
        ([1], [1, 2], "name has 1 parts, computed again 2"),
    ],
)
def test_the_first_difference_is_named_with_both_values(said: Any, found: Any, text: str) -> None:
    assert difference("name", said, found) == text


def test_a_result_is_judged_again_by_the_settings_that_it_was_made_by() -> None:
    """The gate may use an evaluation of an earlier run, which had another target."""
    made_by = {"target_sensitivity": 0.8, "seed": 7, "split": "split/1", "version": 3}
    made_by |= {"abstain_near": 0.1, "abstain_unusual": 0.0}
    proof = Proof(key="evaluate/1", inputs=made_by, result="", files={}, made_from={})
    now = Settings(target_sensitivity=0.95, seed=1, min_auc=0.7, abstain_near=0.3)
    for known, expected in ((proof, (0.8, 7, 0.1)), (None, (0.95, 1, 0.3))):
        store: Any = SimpleNamespace(prove=lambda _, known=known: SimpleNamespace(proof=known))
        found = rejudging._as_made(store, "evaluate/1", now)
        seen = found.target_sensitivity, found.seed, found.abstain_near
        assert (*seen, found.min_auc) == (*expected, 0.7)


def test_documents_are_compared_as_they_are_in_json() -> None:
    figures = documents.figures()
    assert plain({"figures": (figures,), "text": "a"}) == {
        "figures": [figures.model_dump()],
        "text": "a",
    }
    other = figures.model_copy(update={"auc": Interval(value=0.999, low=0.9, high=1.0)})
    said = difference("figures", plain(figures), plain(other))
    assert said.startswith("figures.auc.value is ")
    assert said.endswith(", computed again 0.999")


@pytest.mark.parametrize("said", [{}, {"abstention": Abstention(margin=0.1, near=0.1)}])
def test_an_evaluation_of_before_there_was_abstention_decides_on_every_image(said: Any) -> None:
    scores = pd.DataFrame({"held_out_probability": [0.4], "test": [False]})
    seen = Predictions(np.array([0.4]), 0.5)
    model = documents.evaluation(**said)

    def check() -> None:
        rejudging._check_abstention("evaluate/1", model, Settings(), scores, seen)

    if not said:
        check()
        return
    with pytest.raises(BadInput, match=r"abstention\.margin is 0\.1, computed again 0\.0"):
        check()
