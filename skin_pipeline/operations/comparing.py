"""Compares versions of a model on the same test images, for people who look at them.

    compared = compare(store, [release, other])
    compared.differences[0].accuracy       # the other's minus the first one's, with an interval
    compared.changed                       # the images that they call differently

Nothing is decided by it: the gate compares a new model with the champion by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skin_pipeline import tables
from skin_pipeline.contracts import Comparison, Figures, Release
from skin_pipeline.data import manifest, splitting
from skin_pipeline.errors import BadInput
from skin_pipeline.evaluation import comparison, metrics, scoring
from skin_pipeline.foreign import words
from skin_pipeline.operations.lineage import Origin, origin_of
from skin_pipeline.provenance import ProvenStore, SigningKeys
from skin_pipeline.storage import Store

FEWEST, MOST = 2, 5  # versions
SHOWN = 60  # images whose call changed


@dataclass(frozen=True)
class Changed:
    """A test image that not all versions call the same.

    `shard` and `row` say where the first version's data set has its square. `probabilities` and
    `malignant`, what is called so, are by version.
    """

    key: str
    label: str
    shard: int
    row: int
    probabilities: tuple[float, ...]
    malignant: tuple[bool, ...]


@dataclass(frozen=True)
class Compared:
    """Versions, judged on the test images that all of them have.

    Attributes:
        images: How many images those are.
        malignant: How many of them are malignant.
        known: Test images of all that were left out: a version was trained on them, or on another
            image of the patient or lesion.
        relabelled: Test images of all that were left out as their labels differ.
        figures: Of each version, on these images.
        differences: Of each version but the first: its figures minus those of the first.
        changed: Images that are called differently, those of the largest difference first.
        more: How many more of them there are.
        problem: Why there are no figures; "" if there are.
    """

    images: int = 0
    malignant: int = 0
    known: int = 0
    relabelled: int = 0
    figures: tuple[Figures, ...] = ()
    differences: tuple[Comparison, ...] = ()
    changed: tuple[Changed, ...] = ()
    more: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Row:
    """A line of a table of what differs: a name, and a value for each version."""

    name: str
    values: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether all versions have the same value."""
        return len(set(self.values)) == 1


# --- figures on the same images ------------------------------------------------------------------


def compare(store: Store, origins: Sequence[Origin]) -> Compared:
    """Compares versions with the first of them.

    An image is the same if its file is. Images that a version was trained on are left out, and so
    are those of a patient or lesion that it was trained on: it would look better than it is.

    Args:
        store: The store.
        origins: What each version was made from.
    """
    try:
        images = [_scored(store, origin) for origin in origins]
    except BadInput as error:
        return Compared(problem=str(error))
    tests = [table[table["test"] & table["probability"].notna()] for table in images]
    shared = reduce(pd.Index.intersection, (table.index for table in tests)).sort_values()
    labels = [table.loc[shared, "label"].to_numpy() for table in tests]
    relabelled = np.any([found != labels[0] for found in labels], axis=0)
    known = _known(tests[0].loc[shared], images, origins)
    kept = shared[~(known | relabelled)]
    compared = _compared([table.loc[kept] for table in tests], origins)
    return replace(compared, known=int(known.sum()), relabelled=int((relabelled & ~known).sum()))


def _scored(store: Store, origin: Origin) -> pd.DataFrame:
    """Returns the images of a version's data set by the digest of their file, with its scores."""
    evaluation, split = origin.evaluation, origin.split
    if evaluation is None or split is None:
        why = "; ".join(origin.problems.values()) or "its verdict cannot be read"
        raise BadInput(f"version {origin.release.version} cannot be compared: {why}")
    try:
        scores = tables.read_scores(store, evaluation.predictions)
        table = manifest.read(store, split.table)
        joined = table.merge(scores[["key", "test", "probability"]], on="key")
        joined = joined.astype({"test": bool, "probability": float, "shard": int, "row": int})
    except (ValueError, KeyError, TypeError) as error:  # what pandas raises on a damaged table
        raise BadInput(
            f"version {origin.release.version} cannot be compared: {evaluation.predictions} or "
            f"{split.table} is damaged: {words(error)}"
        ) from None
    return joined.drop_duplicates("sha256").set_index("sha256", drop=False)


def _known(
    shared: pd.DataFrame, images: Sequence[pd.DataFrame], origins: Sequence[Origin]
) -> NDArray[np.bool_]:
    """Returns which of the shared images at least one version was trained on."""
    known = np.zeros(len(shared), bool)
    splits = dict(zip((origin.keys["split"] for origin in origins), images, strict=True))
    for table in splits.values() if len(splits) > 1 else ():  # a split keeps them apart by itself
        known |= scoring.known_to(_trained(table), shared)
    return known


def _trained(table: pd.DataFrame) -> pd.DataFrame:
    sides = table.filter(regex=r"^run_\d+$")
    return table[sides.isin([splitting.TRAIN, splitting.VALIDATION]).any(axis=1)]


def _compared(tests: Sequence[pd.DataFrame], origins: Sequence[Origin]) -> Compared:
    """Compares versions on images that each of the tables has, in the same order."""
    first = tests[0]
    if first.empty:
        return Compared(problem="No test image is left that all versions share.")
    sample = metrics.Sample.of(first, _seed(origins[0]))
    predictions = [
        metrics.Predictions(table["probability"].to_numpy(np.float64), origin.evaluation.threshold)
        for table, origin in zip(tests, origins, strict=True)
        if origin.evaluation
    ]
    found = _changed(first, predictions)
    return Compared(
        images=len(first),
        malignant=int(sample.malignant.sum()),
        figures=tuple(metrics.figures(item, sample) for item in predictions),
        differences=tuple(
            comparison.compare(
                other, predictions[0], sample, version=origins[0].release.version, excluded=0
            )
            for other in predictions[1:]
        ),
        changed=tuple(found[:SHOWN]),
        more=max(0, len(found) - SHOWN),
    )


def _seed(origin: Origin) -> int:
    settings = origin.verdict.settings if origin.verdict else {}
    seed = settings.get("seed", 0)
    return seed if isinstance(seed, int) and seed >= 0 else 0


def _changed(first: pd.DataFrame, predictions: Sequence[metrics.Predictions]) -> list[Changed]:
    """Returns the images that are called differently, those of the largest difference first."""
    calls = np.stack([item.malignant for item in predictions], axis=1)
    chances = np.stack([item.probabilities for item in predictions], axis=1)
    differ = np.flatnonzero(calls.any(axis=1) & ~calls.all(axis=1))
    order = differ[np.argsort(-np.ptp(chances[differ], axis=1), kind="stable")]
    return [
        Changed(
            str(row["key"]),
            str(row["label"]),
            int(row["shard"]),
            int(row["row"]),
            tuple(chances[number].tolist()),
            tuple(calls[number].tolist()),
        )
        for number, row in zip(order, first.iloc[order].to_dict("records"), strict=True)
    ]


# --- what else differs ---------------------------------------------------------------------------


def data_rows(origins: Sequence[Origin]) -> list[Row]:
    """Returns what the versions were made from, line by line."""
    lines = [_data(origin) for origin in origins]
    return _rows(lines)


def setting_rows(origins: Sequence[Origin]) -> list[Row]:
    """Returns the settings of the runs that differ."""
    settings = [origin.verdict.settings if origin.verdict else {} for origin in origins]
    return [row for row in _rows(settings) if not row.same]


def code_rows(store: Store, origins: Sequence[Origin]) -> list[Row]:
    """Returns the versions of each step's code, of Python and of the packages."""
    return _rows([
        {**_code(store, origin), **(origin.verdict.versions if origin.verdict else {})}
        for origin in origins
    ])


def _code(store: Store, origin: Origin) -> dict[str, Any]:
    """Returns the version of the code of each step, from the proofs of the results."""
    proven, found = ProvenStore.of(store, SigningKeys()), {}
    runs = origin.evaluation.runs[:1] if origin.evaluation else ()
    for key in (*filter(None, origin.keys.values()), *runs):
        step = key.split("/")[0]
        try:
            proof = proven.prove(key).proof
        except BadInput:
            proof = None
        version = (proof.inputs or {}).get("version") if proof else None
        found[f"code of {step}"] = None if version is None else f"version {version}"
    return found


def _data(origin: Origin) -> dict[str, Any]:
    data, split, made = origin.dataset, origin.split, origin.evaluation
    found: dict[str, Any] = {
        "data set": origin.keys.get("dataset"),
        "validation": origin.keys.get("validation"),
        "split": origin.keys.get("split"),
    }
    if data:
        found["source"] = data.source
        found["content"] = data.content_digest
        found |= {f"{label} images": count for label, count in data.classes.items()}
        found["quarantined"] = data.unreadable
        found["image size"] = data.image_size
    if split:
        found["runs"] = split.runs
    if made:
        found["test images"] = made.ensemble.images
        found["trunk"] = f"{made.trunk.backbone}, {made.trunk.source}"
        found["stages read"] = made.trunk.stages
        found["strategy"] = made.strategy
        found["threshold"] = f"{made.threshold:.4f}"
    return found


def _rows(columns: Sequence[dict[str, Any]]) -> list[Row]:
    names: Iterable[str] = dict.fromkeys(name for column in columns for name in column)
    return [Row(name, tuple(_word(column.get(name)) for column in columns)) for name in names]


def _word(value: object) -> str:
    """Returns a value for people; a dash where there is none."""
    text = "\N{EN DASH}" if value is None or value == "" else str(value)
    return re.sub(r"\s+", " ", text)


def origins(store: Store, releases: Sequence[Release]) -> list[Origin]:
    """Returns what each of these versions was made from."""
    return [origin_of(store, release) for release in releases]
