"""Each leak of the split is found by the check that is there for it, and by no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sound_tables import SIDES, divided, failed, first

from skin_pipeline.data import validation

EVEN = "share of malignant images on each side"
LEAKS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "nothing": ({}, {}),
    "a patient, a lesion, a group, duplicates on two sides": (
        {
            "group": first("g", *[""] * 8, "g", ""),
            "patient_id": first("", "p", *[""] * 8, "p", ""),
            "lesion_id": first("", "", "l", *[""] * 8, "l", ""),
            "duplicates": first("", "", "", "d", *[""] * 8, "d", ""),
        },
        {
            f"no {unit} on two sides of a run": "critical"
            for unit in ("group", "patient", "lesion", "set of duplicates")
        },
    ),
    "a group between train and validation of one run": (
        {"group": [*[f"g{i}" for i in range(15)], "x", "x", *[f"h{i}" for i in range(23)]]},
        {"no group on two sides of a run": "critical"},
    ),
    "unused images of a group": (
        {"group": [*[f"g{i}" for i in range(37)], "x", "x", "x"], "run_1": SIDES},
        {},
    ),
    "an image that is test in one run only, and a word that is no side": (
        {"run_0": ["unused", *SIDES[1:-1], "holdout"]},
        {
            "the test set is the same in all runs": "critical",
            "every image has a side": "critical",
        },
    ),
    "a side of one class": (
        {"label": ["benign"] * 8 + ["benign", "malignant"] * 16},
        {"each side has both classes": "critical", EVEN: "warning"},
    ),
    "sides that are even but for quarantined images": (
        {
            "label": ["benign", "malignant"] * 11 + ["malignant"] * 18,
            "readable": [*[True] * 22, *[False] * 18],
            **dict.fromkeys(
                ("run_0", "run_1"),
                ["test"] * 6 + ["validation"] * 6 + ["train"] * 10 + ["unused"] * 18,
            ),
        },
        {},
    ),
    "an uneven side": (
        {"label": ["malignant"] * 7 + ["benign", "malignant"] * 16 + ["benign"]},
        {EVEN: "warning"},
    ),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_fails_the_check_that_is_there_for_it(tmp_path: Path, leak: str) -> None:
    changes, expected = LEAKS[leak]
    assert failed(validation.check_split(divided(**changes), tmp_path)) == expected
