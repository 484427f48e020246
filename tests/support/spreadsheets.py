"""Texts that a spreadsheet could take for formulas, and a table of them."""

from __future__ import annotations

import csv
import io

import numpy as np
import pandas as pd

HOSTILE = (
    *("=cmd|'/c calc'!A1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", '"=1', "'=1", " =1"),
    *("\uff1d1", "\u200b=1", "a;=1", "a\n=1", "a\rb", "", "O'Brien", "\0", '"', "a,b", "\\"),
)
TABLE = pd.DataFrame({
    "image_id": HOSTILE,
    "key": [f"benign/{cell}.jpg" for cell in HOSTILE],
    "patient_id": HOSTILE[::-1],
    "brightness": np.linspace(-1, 1, len(HOSTILE)),
    "row": np.arange(len(HOSTILE)) - 1,
    "readable": [True] * len(HOSTILE),
})


def cells(data: bytes) -> list[list[str]]:
    """Returns the cells of a CSV, row by row, as a spreadsheet reads them."""
    return list(csv.reader(io.StringIO(data.decode(), newline="")))
