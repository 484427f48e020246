"""Words expectations for both suites: their names, bounds and reasons, and what they look at.

Every expectation has a stable name (`description`), the reason why it is expected (`notes`), and
its bound in words (`meta`). A failed `critical` one ends the run; a failed `warning` is only shown.
"""

# ruff: file-ignore[banned-module-level-imports] it is imported only where there is work for it
from __future__ import annotations

from typing import Any

import pandas as pd
from great_expectations.expectations.row_conditions import Column

from skin_pipeline.contracts import LABELS

READABLE = Column("readable") == 1  # images that are not quarantined
# Columns in which equal values must stay together, and what one such value is called.
UNITS = {
    "group": "group",
    "patient_id": "patient",
    "lesion_id": "lesion",
    "duplicates": "set of duplicates",
}


def prepared(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the table with the columns that only expectations need."""
    return table.assign(
        readable=table["readable"].astype(int),
        malignant=(table["label"] == LABELS[1]).astype(int),
        aspect=table["width"] / table["height"].where(table["height"] > 0),
        # Pixels are hashed only where another file may have the same ones.
        picture=table["pixels_sha256"].where(table["pixels_sha256"] != "", table["sha256"]),
    )


def about(name: str, bound: str, why: str) -> dict[str, Any]:
    """Returns the arguments of an expectation that say what it is about."""
    return {"description": name, "notes": why, "meta": {"bound": bound}}


def percent(share: float) -> str:
    """Returns a share, 0…1, as per cent."""
    return f"{100 * share:g} %"
