"""A sound manifest and a sound split, and how to change them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from skin_pipeline.data.validation import manifest_suite

COUNT = 40
BOUNDS: dict[str, Any] = {"min_per_class": 10, "max_unreadable": 0.0, "max_group_share": 0.1}


def table(**changes: Any) -> pd.DataFrame:
    """A sound manifest of 40 images, with changes."""
    names = {column: [f"{column}{i}" for i in range(COUNT)] for column in manifest_suite.COLUMNS}
    frame = pd.DataFrame({
        **names,
        "label": ["benign", "malignant"] * (COUNT // 2),
        "format": "JPEG",
        "width": 600,
        "height": 450,
        "bytes": 1000,
        "readable": True,
        "problem": "",
        "converted": "",
        "brightness": 150.0,
        "contrast": 25.0,
        "sharpness": 8.0,
        "sex": ["female", "male"] * (COUNT // 2),
        "age": "45.0",
        "site": "torso",
        "duplicates": "",
        "external": "",
        "shard": 0,
        "row": range(COUNT),
    })
    return frame.assign(**changes)


def first(*values_and_rest: Any) -> list[Any]:
    """The values for the first images, the last one for all others."""
    *values, rest = values_and_rest
    return [*values, *[rest] * (COUNT - len(values))]


def twice(column: str) -> list[str]:
    """Names of which the first stands twice."""
    return [f"{column}0", *[f"{column}{i}" for i in range(COUNT - 1)]]


PAIRED = ["g", "g", *[f"g{i}" for i in range(2, COUNT)]]  # groups, of which one has two images
BENIGN_THEN_MALIGNANT = ["benign"] * 2 + ["malignant", "benign"] * 19
QUARANTINED = {
    "readable": first(False, True),
    "brightness": first(np.nan, 150.0),
    "contrast": first(np.nan, 25.0),
    "sharpness": first(np.nan, 8.0),
    "width": first(0, 600),
    "height": first(0, 450),
}


def failed(checks: Any) -> dict[str, str]:
    return {item.name: item.severity for item in checks if not item.passed}


def groups_of(*sizes: int) -> dict[str, list[str]]:
    """Patients with so many images, each a group."""
    names = [f"P{number}" for number, size in enumerate(sizes) for _ in range(size)]
    return {"patient_id": names, "group": [f"patient_id:{name}" for name in names]}


SIDES = ["test"] * 8 + ["validation"] * 8 + ["train"] * 22 + ["unused"] * 2


def divided(**changes: Any) -> pd.DataFrame:
    """A sound split of the manifest into two runs, with changes."""
    turned = [*SIDES[:8], *["train"] * 20, *["validation"] * 12]
    return table(run_0=SIDES, run_1=turned).assign(**changes)
