"""What in an image spoke for a call: the most confident mistakes, with their saliency.

The saliency is HiResCAM (Draelos & Carin 2020): a stage's activations times the logit's gradient by
them, summed over channels; here over all stages that the logit reads, and with activations as they
differ from their mean in training, since that is what a head sees. For a head, which is linear, it
is the very share that each place has in the logit (CAM, Zhou et al. 2016).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from skin_pipeline.arrays import Arrays
from skin_pipeline.training import backbone, strategies

EACH = 4  # mistakes of each kind that are shown
COLOUR = (230, 159, 0)  # Okabe and Ito's orange: seen on skin, and with any colour vision
STRONGEST = 0.75  # how much of it covers the most salient place
QUALITY = 80

Ends = Sequence[Any]


def most_confident(predictions: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Test images that were called wrongly, the most confident first, up to four missed malignant
    and four false alarms; one of each group.

    Args:
        predictions: As in `contracts.Evaluation`.
        threshold: From which an image is called malignant.
    """
    rows = predictions[predictions["test"] & predictions["probability"].notna()]
    rows = rows.sort_values("probability")
    called = rows["probability"] >= threshold
    malignant = rows["label"] == "malignant"
    missed = rows[malignant & ~called].drop_duplicates("group")[:EACH]
    alarms = rows[~malignant & called].iloc[::-1].drop_duplicates("group")[:EACH]
    return pd.concat([missed, alarms])


def saliency(
    network: backbone.Network, strategy: str, runs: Sequence[Arrays], squares: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Where the mean logit of the runs comes from.

    Args:
        network: With its pretrained weights.
        strategy: That the runs were trained with.
        runs: The weights of each run's model.
        squares: What the network sees (n, size, size, 3).

    Returns:
        (n, size, size): positive where the image speaks for malignant, negative for benign.
    """
    import tensorflow as tf

    model = strategies.STRATEGIES[strategy].model(network, "explained")
    ends, logit = strategies.STRATEGIES[strategy].explained(network, model)
    images = tf.cast(squares, tf.float32)
    total = np.zeros(squares.shape[:3], np.float32)
    for weights in runs:
        model.set_weights(weights)
        usual = model.get_layer("standardise").get_weights()[0]
        total += _gradients(ends(images), logit, usual, squares.shape[1])
    return np.asarray(total / len(runs), np.float32)


def _gradients(
    ends: Ends, logit: Callable[[Ends], Any], usual: NDArray[np.float32], size: int
) -> NDArray[np.float32]:
    """Saliency (n, size, size) of one model; `usual` are the means of its features, of which those
    of the ends come first."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        for end in ends:
            tape.watch(end)
        outcome = tf.reduce_sum(logit(ends))
    total, first = 0.0, 0
    for end, gradient in zip(ends, tape.gradient(outcome, ends), strict=True):
        last = first + end.shape[-1]
        share = tf.reduce_sum((end - usual[first:last]) * gradient, axis=-1, keepdims=True)
        first = last
        # Each place stands for an area: so that stages count alike, whatever their resolution.
        total += tf.image.resize(share, (size, size)) * (end.shape[1] * end.shape[2] / size**2)
    return np.asarray(total, np.float32)[..., 0]


def overlay(square: NDArray[np.uint8], spoke: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A square (size, size, 3) with what spoke for its call (size, size) laid over it in orange.

    What spoke against the call is left as it is.
    """
    strength = np.clip(spoke, 0, None)
    alpha = (STRONGEST * strength / max(float(strength.max()), 1e-9))[..., None]
    return np.asarray(square * (1 - alpha) + np.array(COLOUR) * alpha, np.uint8)


def jpeg(square: NDArray[np.uint8]) -> bytes:
    """A picture as JPEG."""
    written = io.BytesIO()
    Image.fromarray(square).save(written, "JPEG", quality=QUALITY)
    return written.getvalue()
