"""Says in words what moved away from the reference, and by how much.

told(Change.between("red", reference, now))   # "images are redder …: 0.61 against 0.52"
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skin_pipeline.monitoring.evidence import Floats

THEIRS = "than those that the model was judged on"
# Of each thing that is watched: what it means if it grows, and if it shrinks.
WORDS = {
    "red": ("images are redder", "images are less red"),
    "green": ("images are greener", "images are less green"),
    "blue": ("images are bluer", "images are less blue"),
    "saturation": ("colours are stronger", "colours are paler"),
    "contrast": ("images have more contrast", "images have less contrast"),
    "sharpness": ("images are sharper", "images are more blurred"),
    "dark": ("more of the images is black", "less of the images is black"),
    "bright": ("more of the images is overexposed", "less of the images is overexposed"),
    "vignette": ("corners are darker", "corners are less dark"),
    "distance": ("images are more unusual", "images are more alike"),
    "novelty": ("images show more that is new to the model", "images show less that is unusual"),
    "probability": ("probabilities are higher", "probabilities are lower"),
}
SPREAD = {
    **dict.fromkeys(("red", "green", "blue"), "the colour {} of images"),
    "distance": "how unusual images are",
    "novelty": "what images show",
    "probability": "the probability",
    "dark": "the black part of images",
    "bright": "the overexposed part of images",
}
SHARES = {
    "malignant": "of the images are classified as malignant",
    "unreadable": "of the images cannot be read",
    "abstained": "of the images get no decision",
}
SMALL = 0.2  # standard deviations: a mean that moved less explains no alarm


class Change(NamedTuple):
    """A change of something: its mean before and now, or its standard deviations if `wider` or
    narrower is what changed. `direction` is 1 if it grew."""

    name: str
    before: float
    now: float
    wider: bool
    direction: int
    spreads: tuple[float, float]

    @classmethod
    def between(
        cls, name: str, reference: Floats, values: Floats, threshold: float | None = None
    ) -> Change:
        """Returns the change from the reference's values to those of now.

        Args:
            name: What changed.
            reference: Its values in the reference (n,).
            values: Its values now (m,).
            threshold: From which value on it counts as 1, if a share is to be told.
        """
        if threshold is not None:
            reference, values = (np.asarray(v >= threshold, float) for v in (reference, values))
        before, now = float(reference.mean()), float(values.mean())
        old, new = float(reference.std()), float(values.std())
        wider = name not in SHARES and abs(now - before) < SMALL * max(old, 1e-12)
        grew = new > old if wider else now > before
        return cls(name, before, now, wider, 1 if grew else -1, (old, new))


def told(change: Change) -> str:
    """Returns a change in words, with both figures."""
    name, grew = change.name, change.direction > 0
    if name in SHARES:
        return f"{change.now:.0%} {SHARES[name]}, against {change.before:.0%} expected"
    if change.wider:
        what = SPREAD.get(name, "{}").format(name)
        old, new = change.spreads
        more = "more" if grew else "less"
        return f"{what} varies {more} {THEIRS}: standard deviation {new:.2f} against {old:.2f}"
    if name.startswith("direction "):
        return (
            f"images look different to the trunk ({name} of its features): mean {change.now:.2f} "
            f"against {change.before:.2f}"
        )
    return f"{WORDS[name][not grew]} {THEIRS}: {change.now:.2f} against {change.before:.2f}"
