"""How a model that somebody else trained scales the pixels that its network sees.

    front = wiring.before(config, {"block1_conv1"})   # the layers between image and network
    scaling = scaled_by(front, values)                # Pixels((0.028, …), (-5.4, …))

Weights are of use only with the pixels that they were trained on. Where the scaling is part of the
model, it is `Rescaling` and `Normalization`, one after the other: for each channel a factor and an
addend.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skin_pipeline.foreign import line, shown
from skin_pipeline.training import configuration
from skin_pipeline.training.container import Foreign

log = logging.getLogger(__name__)

CHANNELS = 3
EPSILON = 1e-7  # the smallest deviation that Keras's `Normalization` divides by
# Between them is how far the scaled values of black and white are apart, for whatever network.
SPANS = (0.5, 300.0)
# Layers that change where a pixel is, or change it only while training.
HARMLESS = (
    *("Resizing", "CenterCrop", "RandomCrop", "RandomFlip", "RandomRotation", "RandomZoom"),
    *("RandomTranslation", "RandomShear", "RandomBrightness", "RandomContrast", "RandomHue"),
    *("RandomSaturation", "RandomSharpness", "RandomColorJitter", "RandomErasing", "Identity"),
    *("RandomGrayscale", "RandomColorDegeneration", "RandomGaussianBlur", "GaussianNoise"),
)
Values = Callable[[str], list[NDArray[np.float32]]]


class Pixels(NamedTuple):
    """What red, green and blue in 0…255 are multiplied by, and what is added to them then."""

    factors: tuple[float, ...]
    addends: tuple[float, ...]

    def is_like(self, other: Pixels) -> bool:
        """Returns whether both give the same values, but for rounding."""
        return np.allclose(self.factors, other.factors, rtol=1e-3) and np.allclose(
            self.addends, other.addends, rtol=1e-3, atol=1e-3
        )


def scaled_by(front: Iterable[Any], values: Values) -> Pixels | None:
    """Returns how layers scale pixels.

    Args:
        front: The configurations of the layers, in their order.
        values: Gives the arrays of a layer by its name: of `Normalization`, means and variances.

    Returns:
        None if none of them does. None also, with a warning in the log, if a layer does something
        else with the pixels: none of its code is run.

    Raises:
        Foreign: A layer scales something else than pixels of three channels in 0…255.
    """
    factors, addends, scales = np.ones(CHANNELS), np.zeros(CHANNELS), False
    for layer in front:
        kind, name = str(configuration.get(layer, "class_name")), configuration.name_of(layer)
        if kind in HARMLESS:
            continue
        if kind not in {"Rescaling", "Normalization"}:
            log.warning(
                "pixels_unknown layer=%s class=%s: it stands in front of the network and is not "
                "run; pixels are scaled as keras.applications does",
                line(name),
                line(kind),
            )
            return None
        one, two = _rescaling(layer) if kind == "Rescaling" else _normalisation(layer, values(name))
        factors, addends, scales = factors * one, addends * one + two, True
    return _checked(factors, addends) if scales else None


def _checked(factors: Any, addends: Any) -> Pixels:
    spans = 255 * np.abs(factors)
    least, most = SPANS
    if not (np.isfinite(addends).all() and ((least <= spans) & (spans <= most)).all()):
        told = ", ".join(f"{span:.3g}" for span in spans)
        raise Foreign(
            f"scales pixels of 0 to 255 to values that are {told} apart: it was trained on pixels "
            "in another range, perhaps 0 to 1. Put that into a layer Rescaling in front of its own"
        )
    return Pixels(tuple(map(float, factors)), tuple(map(float, addends)))


def _rescaling(layer: Any) -> tuple[Any, Any]:
    config = configuration.get(layer, "config")
    return (
        _channels(layer, configuration.get(config, "scale"), 1.0),
        _channels(layer, configuration.get(config, "offset"), 0.0),
    )


def _normalisation(layer: Any, found: list[NDArray[np.float32]]) -> tuple[Any, Any]:
    config = configuration.get(layer, "config")
    mean, variance = (configuration.get(config, key) for key in ("mean", "variance"))
    if mean is None:
        mean, variance = (array.tolist() for array in found[:2]) if len(found) > 1 else (None, None)
    means, variances = (_channels(layer, value, None) for value in (mean, variance))
    deviations = np.maximum(np.sqrt(np.maximum(variances, 0)), EPSILON)
    return 1 / deviations, -means / deviations


def _channels(layer: Any, value: Any, default: float | None) -> Any:
    """Returns a number or a list of numbers as one for each channel."""
    try:
        numbers = np.asarray(default if value is None else value, np.float64).ravel()
        return np.broadcast_to(numbers, (CHANNELS,))
    except (TypeError, ValueError):
        name = shown(configuration.name_of(layer))
        raise Foreign(f"has a layer {name} that does not scale {CHANNELS} channels") from None
