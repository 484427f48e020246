"""A test set that stays the test set, and seeded train/validation resamples of the rest."""

from __future__ import annotations

import hashlib
import logging

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import GroupShuffleSplit

from skin_pipeline.contracts import LABELS
from skin_pipeline.errors import BadInput
from skin_pipeline.seeds import run_seed

log = logging.getLogger(__name__)

TRAIN, VALIDATION, TEST, UNUSED = "train", "validation", "test", "unused"
PARTINGS = 20


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

    A cell is `train`, `validation`, `test` or `unused` (quarantined, set aside, or dropped to
    balance the training set). Images of one group are never on two sides.

    Raises:
        BadInput: a side of a run has no image of a class.
    """
    test, rest = _sides(table, test_fraction)
    return assigned(
        table,
        test,
        rest,
        runs=runs,
        validation_fraction=validation_fraction,
        balance=balance,
        seed=seed,
    )


def assigned(
    table: pd.DataFrame,
    test: pd.Series[bool],
    rest: pd.Series[bool],
    *,
    runs: int,
    validation_fraction: float,
    balance: str,
    seed: int,
) -> pd.DataFrame:
    """`split`, with the test set given: `test` marks its rows, `rest` those that runs resample."""
    _need_both_classes(table[test], "the test set")
    if table.loc[rest, "group"].nunique() < 2:
        raise BadInput("split: fewer than two groups are left to train and validate on")
    columns = {}
    for run in range(runs):
        column = pd.Series(UNUSED, index=table.index).mask(test, TEST)
        sides = _resample(table[rest], run, validation_fraction, balance, seed)
        for side, rows in sides.items():
            _need_both_classes(rows, f"the {side} set of run {run}")
            column[rows.index] = side
        columns[f"run_{run}"] = column
    return table.assign(**columns)


def _sides(table: pd.DataFrame, fraction: float) -> tuple[pd.Series[bool], pd.Series[bool]]:
    """Which images are in the test set, and which may be trained on.

    The anchor decides, which an image keeps for ever. Where a new near-duplicate united a group of
    the test set with one outside of it, neither moves: the images outside are set aside.
    """
    usable = table["readable"].astype(bool)
    test = usable & table["anchor"].map(lambda anchor: in_test(anchor, fraction)).astype(bool)
    beside_test = table["group"].isin(table.loc[test, "group"])
    set_aside = usable & ~test & beside_test
    for group, rows in table[set_aside].groupby("group"):
        log.warning(
            'group_on_both_sides group="%s" test=%d set_aside=%d',
            group,
            (test & (table["group"] == group)).sum(),
            len(rows),
        )
    return test, usable & ~beside_test


def _resample(
    rest: pd.DataFrame, run: int, validation_fraction: float, balance: str, seed: int
) -> dict[str, pd.DataFrame]:
    random = np.random.RandomState(run_seed(seed, run))
    train, validation = _stratified(rest, validation_fraction, random)
    sides = {TRAIN: rest.iloc[train], VALIDATION: rest.iloc[validation]}
    if balance == "undersample":
        sides[TRAIN] = _undersample(sides[TRAIN], random)
    return sides


def _stratified(
    rest: pd.DataFrame, fraction: float, random: np.random.RandomState
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train and to validate on: of some random partings of the groups the one whose sides
    have the most similar shares of malignant images."""
    malignant = (rest["label"] == "malignant").to_numpy(np.float64)
    splitter = GroupShuffleSplit(PARTINGS, test_size=fraction, random_state=random)
    partings: list[tuple[NDArray[np.int64], NDArray[np.int64]]]
    partings = list(splitter.split(rest, groups=rest["group"]))
    return min(partings, key=lambda p: abs(malignant[p[0]].mean() - malignant[p[1]].mean()))


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


def stratification(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """By how much each side's share of malignant images differs from that of all readable ones.

    Returns:
        `{"run_0": {"train": 0.02, …}, …}`, each 0…1. A training set that was balanced by leaving
        images out differs on purpose.
    """
    malignant = table["label"] == "malignant"
    overall = malignant[table["readable"].astype(bool)].mean()
    runs = [column for column in table.columns if column.startswith("run_")]
    return {
        run: {
            side: round(abs(float(malignant[table[run] == side].mean() - overall)), 4)
            for side in (TRAIN, VALIDATION, TEST)
        }
        for run in runs
    }
