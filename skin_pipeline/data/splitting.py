"""A test set that stays the test set, and seeded train/validation resamples of the rest."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit

from skin_pipeline.contracts import LABELS
from skin_pipeline.errors import BadInput

TRAIN, VALIDATION, TEST, UNUSED = "train", "validation", "test", "unused"


def in_test(group: str, fraction: float) -> bool:
    """Whether a group belongs to the test set: decided by its name alone.

    New data can therefore never move an old group, and no seed can choose a lucky test set.
    """
    digest = hashlib.sha256(f"test set:{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < fraction * 2**64


def split(
    table: pd.DataFrame,
    *,
    runs: int,
    test_fraction: float,
    validation_fraction: float,
    balance: str,
    seed: int,
) -> pd.DataFrame:
    """The manifest with a column `run_0`, `run_1`, … for each run.

    A cell is `train`, `validation`, `test` or `unused` (unreadable, or dropped to balance the
    training set). Images of one group are never on two sides.

    Raises:
        BadInput: a side of a run has no image of a class.
    """
    usable = table["readable"]
    test = usable & table["group"].map(lambda group: in_test(group, test_fraction))
    rest = table[usable & ~test]
    _need_both_classes(table[test], "the test set")
    if rest["group"].nunique() < 2:
        raise BadInput("split: fewer than two groups are left to train and validate on")
    columns = {}
    for run in range(runs):
        column = pd.Series(UNUSED, index=table.index).mask(test, TEST)
        for side, rows in _resample(rest, run, validation_fraction, balance, seed).items():
            _need_both_classes(rows, f"the {side} set of run {run}")
            column[rows.index] = side
        columns[f"run_{run}"] = column
    return table.assign(**columns)


def run_seed(seed: int, run: int) -> int:
    """The seed of one run, 0…2³¹-1: derived, so that runs differ and each can be repeated."""
    return int(np.random.SeedSequence([seed, run]).generate_state(1)[0] >> 1)


def _resample(
    rest: pd.DataFrame, run: int, validation_fraction: float, balance: str, seed: int
) -> dict[str, pd.DataFrame]:
    random = np.random.RandomState(run_seed(seed, run))
    splitter = GroupShuffleSplit(1, test_size=validation_fraction, random_state=random)
    ((train, validation),) = splitter.split(rest, groups=rest["group"])
    sides = {TRAIN: rest.iloc[train], VALIDATION: rest.iloc[validation]}
    if balance == "undersample":
        sides[TRAIN] = _undersample(sides[TRAIN], random)
    return sides


def _undersample(rows: pd.DataFrame, random: np.random.RandomState) -> pd.DataFrame:
    """As many images of each class as the smaller class has."""
    size = rows["label"].value_counts().min()
    return rows.groupby("label", group_keys=False).sample(n=size, random_state=random)


def _need_both_classes(rows: pd.DataFrame, what: str) -> None:
    counts = {label: int((rows["label"] == label).sum()) for label in LABELS}
    if min(counts.values()) == 0:
        raise BadInput(
            f"split: {what} has {counts['benign']} benign and {counts['malignant']} malignant "
            "images; more images (or more groups) are needed"
        )


def counts(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Images of each side of each run: `{"run_0": {"train": 700, …}, …}`."""
    runs = [column for column in table.columns if column.startswith("run_")]
    return {
        run: {str(side): int(count) for side, count in table[run].value_counts().items()}
        for run in runs
    }
