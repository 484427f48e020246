"""Divides the images: a test set that stays the test set, and seeded resamples of the rest.

Whole groups are divided, never images, so that nothing which a model has seen in training comes
back in the test. Each run draws its own train and validation images from what is no test image.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skin_pipeline.contracts import LABELS
from skin_pipeline.data import manifest
from skin_pipeline.errors import BadInput
from skin_pipeline.seeds import run_seed

log = logging.getLogger(__name__)

TRAIN, VALIDATION, TEST, UNUSED = "train", "validation", "test", "unused"
PARTINGS = 20  # random divisions of which the best is taken


def on_side(table: pd.DataFrame, side: str) -> NDArray[np.bool_]:
    """Returns which images of a split's table (n,) are on a side in at least one run."""
    return np.asarray((table.filter(regex=r"^run_\d+$") == side).any(axis=1))


def in_test(group: str, fraction: float) -> bool:
    """Returns whether a group belongs to the test set, which its name alone decides.

    The digest of a name is as good as a random number that is the same for ever. New data can
    therefore never move an old group, and no seed can choose a lucky test set.
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
    """Returns the manifest with a column `run_0`, `run_1`, … for each run.

    A cell is `train`, `validation`, `test` or `unused` (quarantined, set aside, or dropped to
    balance the training set). Images of one group are never on two sides.

    Raises:
        BadInput: A side of a run has no image of a class.
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
    """Does what `split` does, for a given test set.

    `test` marks its rows, and `rest` those of which each run draws its own sides.
    """
    _need_both_classes(table[test], "the test set")
    if table.loc[rest, "group"].nunique() < 2:
        raise BadInput("split: fewer than two groups are left to train and validate on")
    columns = {}
    left = table.loc[rest, table.columns.intersection(["label", "group", manifest.SOURCE])]
    for run in range(runs):
        column = np.where(test, TEST, UNUSED).astype(object)
        sides = _resample(left, run, validation_fraction, balance, seed)
        for side, rows in sides.items():
            _need_both_classes(rows, f"the {side} set of run {run}")
            column[table.index.get_indexer(rows.index)] = side
        columns[f"run_{run}"] = pd.Series(column, table.index, dtype=str)
    return table.assign(**columns)


def _sides(table: pd.DataFrame, fraction: float) -> tuple[pd.Series[bool], pd.Series[bool]]:
    """Returns which images are in the test set, and which may be trained on.

    The anchor decides, which an image keeps for ever, not the name that its group has now. A new
    near-duplicate may unite a group of the test set with one outside. Then neither moves: models
    that were trained on an image would look too good if it moved into the test set. Those outside
    are set aside, since they would leak the test into the training.
    """
    usable = table["readable"].astype(bool)
    inside = [anchor for anchor in table["anchor"].unique() if in_test(anchor, fraction)]
    test = usable & table["anchor"].isin(inside)
    beside_test = table["group"].isin(table.loc[test, "group"])
    set_aside = usable & ~test & beside_test
    tested = table.loc[test, "group"].value_counts().to_dict()
    for group, count in table.loc[set_aside, "group"].value_counts().sort_index().items():
        log.warning(
            'group_on_both_sides group="%s" test=%d set_aside=%d', group, tested[str(group)], count
        )
    return test, usable & ~beside_test


def _resample(
    rest: pd.DataFrame, run: int, validation_fraction: float, balance: str, seed: int
) -> dict[str, pd.DataFrame]:
    """Returns the rows of the training and the validation set of one run."""
    random = np.random.RandomState(run_seed(seed, run))
    train, validation = _stratified(rest, validation_fraction, random)
    sides = {TRAIN: rest.iloc[train], VALIDATION: rest.iloc[validation]}
    if balance == "undersample":
        _need_both_classes(sides[TRAIN], f"the {TRAIN} set of run {run}")
        sides[TRAIN] = _undersample(sides[TRAIN], random)
    return sides


def _stratified(
    rest: pd.DataFrame, fraction: float, random: np.random.RandomState
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the positions of the rows to train on and to validate on.

    Groups must stay together, and both sides should have the same share of malignant images. Groups
    have different sizes and mixtures, so no division does both exactly. Of some random divisions of
    the groups, the one with the most similar shares is taken.
    """
    from sklearn.model_selection import GroupShuffleSplit  # slow to import

    malignant = (rest["label"] == "malignant").to_numpy(np.float64)
    splitter = GroupShuffleSplit(PARTINGS, test_size=fraction, random_state=random)
    # Numbers in the order of the names give the same divisions as the names, and many times faster.
    groups = pd.factorize(rest["group"], sort=True)[0]
    partings: Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]
    partings = splitter.split(malignant, groups=groups)

    def apart(parting: tuple[NDArray[np.int64], NDArray[np.int64]]) -> float:
        train, validation = parting
        return float(abs(malignant[train].mean() - malignant[validation].mean()))

    return min(partings, key=apart)


def _undersample(rows: pd.DataFrame, random: np.random.RandomState) -> pd.DataFrame:
    """Returns as many images of each class as the smaller class has, within each source.

    Where a class is more frequent in one source than in another, the look of a source would tell
    the label.
    """
    of_one = rows.get(manifest.SOURCE, pd.Series("", rows.index))
    return pd.concat([_evened(part, random) for _, part in rows.groupby(of_one)])


def _evened(rows: pd.DataFrame, random: np.random.RandomState) -> pd.DataFrame:
    size = rows["label"].value_counts().reindex(LABELS, fill_value=0).min()
    return rows.groupby("label", group_keys=False).sample(n=size, random_state=random)


def need_both_classes_in(table: pd.DataFrame, sides: pd.Series[str]) -> None:
    """Raises `BadInput` where the training or validation images have one class only."""
    for side in (TRAIN, VALIDATION):
        _need_both_classes(table[sides == side], f"the {side} set")


def _need_both_classes(rows: pd.DataFrame, what: str) -> None:
    """Refuses a side without images of a class: it can neither be learned from nor judged on."""
    counts = {label: int((rows["label"] == label).sum()) for label in LABELS}
    if min(counts.values()) == 0:
        raise BadInput(
            f"split: {what} has {counts['benign']} benign and {counts['malignant']} malignant "
            "images; more images (or more groups) are needed"
        )


def counts(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Returns the number of images on each side of each run: `{"run_0": {"train": 700, …}, …}`."""
    runs = [column for column in table.columns if column.startswith("run_")]
    return {
        run: {str(side): int(count) for side, count in table[run].value_counts().items()}
        for run in runs
    }


def stratification(table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Returns how far each side's share of malignant images is from that of all readable images.

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
