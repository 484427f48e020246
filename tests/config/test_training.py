"""The knobs of the training: choices that variables and flags give as text."""

from __future__ import annotations

from typing import Any

import pytest

from skin_pipeline.config import Settings, read_settings
from skin_pipeline.errors import BadInput


@pytest.mark.parametrize("views", [8, "8", " 8 "])
def test_views_are_one_of_a_few_numbers_in_whatever_way_they_are_given(views: Any) -> None:
    assert read_settings({"views": views}).views == 8


def test_views_from_the_environment_are_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIN_VIEWS", "2")
    assert Settings().views == 2
    monkeypatch.setenv("SKIN_VIEWS", "3")
    with pytest.raises(BadInput, match=r"views: Input should be 1, 2, 4 or 8\. Received: 3"):
        read_settings({})
