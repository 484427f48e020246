"""What is watched of the images that a version scores, in comparison with its reference.

    families    colour, exposure, sharpness, vignette      the measures of an image
                content                                    the trunk's features
                scores, malignant share                    what the model says
                unreadable, abstained                      what it could not say
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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

TOLERATED = 0.02  # a share of unreadable or abstained images that is no reason for an alarm
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


def features(reference: Reference) -> list[Feature]:
    """Returns what is watched, with its values in the reference and the bets on it."""
    made = []
    for name, values in {**_looks(reference)}.items():
        made.append(_feature(reference, name, FAMILIES.get(name, "content"), values))
    probability = reference.probability.astype(np.float64)
    made.append(_feature(reference, "probability", "scores", probability))
    rates = class_rates(probability, reference.malignant.astype(np.float64))
    if rates:
        design = design_effect(probability, reference.group)
        made.append(Feature("malignant", "malignant share", probability, rates, design, weight=3))
    for name in ("unreadable", "abstained"):
        never = np.zeros(len(reference))
        made.append(Feature(name, name, never, shares(never, TOLERATED), ranked=False))
    return made


def _feature(reference: Reference, name: str, family: str, values: Floats) -> Feature:
    bets = [*shifts(), *spreads()]
    return Feature(name, family, values, bets, design_effect(values, reference.group))


def _looks(reference: Reference) -> dict[str, Floats]:
    columns = dict(zip(NAMES, reference.measures.astype(np.float64).T, strict=True))
    return {**columns, **in_space(reference.embedding.astype(np.float64))}


def in_space(embedding: Floats) -> dict[str, Floats]:
    """Returns what is watched of embeddings (n, k): the distance from the middle of the reference,
    the novelty, and each direction."""
    if not embedding.shape[1]:
        return {}
    *along, novelty = embedding.T
    named = {f"direction {number}": values for number, values in enumerate(along, 1)}
    distance = np.log(np.sum(np.square(along), axis=0) + 1e-9) / 2
    return {"distance": distance, "novelty": novelty, **named}
