"""What is watched of the images that a version scores, and its values in the reference.

| family | what |
|---|---|
| colour, exposure, sharpness, vignette | the measures of an image |
| content | where an image is in the space of the trunk's features |
| scores | the probability |
| malignant share | the probability, for a change of the share of malignant images alone |
| unreadable, abstained | what the version could not say |
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from skin_pipeline.monitoring.evidence import (
    Feature,
    Floats,
    class_rates,
    design_effect,
    shares,
    shifts,
    spreads,
)
from skin_pipeline.monitoring.measures import NAMES
from skin_pipeline.monitoring.reference import Reference

if TYPE_CHECKING:
    import pandas as pd

FAMILIES = {
    "red": "colour",
    "green": "colour",
    "blue": "colour",
    "saturation": "colour",
    "contrast": "exposure",
    "dark": "exposure",
    "bright": "exposure",
    "sharpness": "sharpness",
    "vignette": "vignette",
}
TOLERATED = 0.02  # a share of unreadable or abstained images that is no reason for an alarm
# The share of malignant images shows in scores that overlap much, and so needs the most images. A
# weight costs the other families little: the logarithm of their own.
WEIGHT_OF_SHARE = 6.0


def at_share(reference: Reference, share: float) -> Reference:
    """Returns a part of a reference in which this share of images is malignant; all for 0.

    Where few of the images that are scored are malignant, validation images have far more. They
    would differ for ever, for a reason that everybody knows.
    """
    malignant = np.flatnonzero(reference.malignant)
    benign = np.flatnonzero(reference.malignant == 0)
    if not 0 < share < 1 or not len(malignant) or not len(benign):
        return reference
    most = min(len(malignant) / share, len(benign) / (1 - share))
    random = np.random.default_rng(0)
    parts = (malignant, round(most * share)), (benign, round(most * (1 - share)))
    drawn = [random.permutation(rows)[: max(1, count)] for rows, count in parts]
    rows = np.sort(np.concatenate(drawn))
    names = ("measures", "probability", "malignant", "group", "embedding", "abstained")
    return replace(reference, **{name: getattr(reference, name)[rows] for name in names})


def features(reference: Reference) -> list[Feature]:
    """Returns what is watched, with its values in the reference and the bets on it."""
    looks = _looks(reference.measures, reference.embedding)
    made = [
        _feature(reference, name, FAMILIES.get(name, "content"), values)
        for name, values in looks.items()
    ]
    probability = reference.probability.astype(np.float64)
    made.append(_feature(reference, "probability", "scores", probability))
    if rates := class_rates(probability, reference.malignant.astype(np.float64)):
        design = design_effect(probability, reference.group)
        about = ("malignant", "malignant share", probability, rates, design)
        made.append(Feature(*about, weight=WEIGHT_OF_SHARE))
    never = np.zeros(len(reference))
    abstained = reference.abstained.astype(np.float64)
    for name, usual in (("unreadable", never), ("abstained", abstained)):
        made.append(Feature(name, name, usual, shares(usual, TOLERATED), ranked=False))
    return made


def _feature(reference: Reference, name: str, family: str, values: Floats) -> Feature:
    bets = [*shifts(), *spreads()]
    return Feature(name, family, values, bets, design_effect(values, reference.group))


def _looks(measures: Any, embedding: Any) -> dict[str, Floats]:
    columns = dict(zip(NAMES, np.asarray(measures, np.float64).T, strict=True))
    return {**columns, **in_space(np.asarray(embedding, np.float64))}


def in_space(embedding: Floats) -> dict[str, Floats]:
    """Returns what is watched of embeddings (n, k): the distance from the middle of the reference,
    the novelty, and each direction."""
    if not embedding.shape[1]:
        return {}
    *along, novelty = embedding.T
    named = {f"direction {number}": values for number, values in enumerate(along, 1)}
    distance = np.log(np.sum(np.square(along), axis=0) + 1e-9) / 2
    return {"distance": distance, "novelty": novelty, **named}


# --- of rows of the log --------------------------------------------------------------------------


def values_of(rows: pd.DataFrame, dimensions: int) -> dict[str, Floats]:
    """Returns what is watched of rows of the log (n), by name; NaN where an image has none.

    Args:
        rows: Rows with the columns of `score_log`.
        dimensions: How many numbers an embedding has.
    """
    measures = rows[list(NAMES)].to_numpy(np.float64)
    embedding = _embeddings(rows, dimensions)
    probability = rows["probability"].to_numpy(np.float64)
    scored = np.isfinite(probability)
    abstained = rows["abstained"].fillna(False).astype(bool).to_numpy(np.float64)
    return {
        **_looks(measures, embedding),
        "probability": probability,
        "malignant": probability,
        "unreadable": (~scored).astype(np.float64),
        "abstained": np.where(scored, abstained, np.nan),
    }


def _embeddings(rows: pd.DataFrame, dimensions: int) -> Floats:
    made = np.full((len(rows), dimensions), np.nan)
    for number, values in enumerate(rows["embedding"]):
        if values is not None and np.ndim(values) == 1 and len(values) == dimensions:
            made[number] = values
    return made


def ties(names: list[str], count: int) -> Floats:
    """Returns random numbers for images (count, n) that depend only on the images' names.

    Ties in ranks are broken by them; evidence that is computed anew is thus the same.
    """
    seeds = (hashlib.sha256(name.encode(errors="replace")).digest()[:8] for name in names)
    drawn = [np.random.default_rng(int.from_bytes(seed, "big")).random(count) for seed in seeds]
    return np.array(drawn).reshape(-1, count).T
