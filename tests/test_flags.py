"""The flags of the commands that have more than keys as arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skin_pipeline import flags


@pytest.mark.parametrize(
    ("add", "given", "expected"),
    [
        (
            flags.add_predict,
            ["a.jpg", "b", "--site", "clinic-b", "--output", "x.csv"],
            {
                "images": ["a.jpg", "b"],
                "model": "champion",
                "model_name": "",
                "site": "clinic-b",
                "output": Path("x.csv"),
            },
        ),
        (flags.add_score, ["new"], {"source": "new", "model": "", "alias": "champion", "site": ""}),
        (flags.add_labels, ["labels"], {"source": "labels", "model": ""}),
        (
            flags.add_scores,
            ["skin", "--out", "x.csv"],
            {"model": "skin", "batch": "", "since": "", "out": Path("x.csv")},
        ),
    ],
    ids=["predict", "score", "labels", "scores"],
)
def test_a_command_takes_its_flags(
    add: Callable[[argparse.ArgumentParser], None], given: list[str], expected: dict[str, Any]
) -> None:
    parser = argparse.ArgumentParser()
    add(parser)
    assert vars(parser.parse_args(given)) == expected


def test_every_setting_has_a_flag() -> None:
    parser = argparse.ArgumentParser()
    flags.add_plan(parser)
    found = vars(parser.parse_args(["--images", "5", "--target-sensitivity", "0.95"]))
    assert (found["images"], found["workers"], found["target_sensitivity"]) == (5, 1, "0.95")
