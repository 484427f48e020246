"""Shows which parts of an image led to its prediction: saliency of the most confident mistakes.

The method is HiResCAM (Draelos & Carin 2020): activations of a stage times the gradient of the
logit with respect to them, summed over channels. Here it is summed over all stages that the logit
reads. From the activations their mean over the training images is subtracted first, since a head
standardises its features: what every image has explains no prediction. For a head, which is linear,
the result is the exact contribution of each part of the image to the logit (CAM, Zhou et al. 2016).
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
from skin_pipeline.progress import reported
from skin_pipeline.training import backbone, strategies

EACH = 4  # mistakes of each kind that are shown
COLOUR = (230, 159, 0)  # Okabe and Ito's orange: visible on skin and with any colour vision
STRONGEST = 0.75  # opacity of the colour on the most salient pixel
QUALITY = 80  # of the JPEG files

Ends = Sequence[Any]  # outputs of the stages that a logit reads, as tensors


def most_confident(predictions: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Returns test images that were classified incorrectly, the most confident first.

    They are up to four missed malignant images and up to four false alarms. Only one of a group is
    returned: images of one lesion look alike, and would show the same mistake again.

    Args:
        predictions: As in `contracts.Evaluation`.
        threshold: Images with this probability or more are classified as malignant.
    """
    rows = predictions[predictions["test"] & predictions["probability"].notna()]
    rows = rows.sort_values("probability")
    alarming = rows["probability"] >= threshold
    malignant = rows["label"] == "malignant"
    missed = rows[malignant & ~alarming].drop_duplicates("group")[:EACH]
    alarms = rows[~malignant & alarming].iloc[::-1].drop_duplicates("group")[:EACH]
    return pd.concat([missed, alarms])


def saliency(
    network: backbone.Network, strategy: str, runs: Sequence[Arrays], squares: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Returns how much each pixel contributes to the mean logit of the runs (n, size, size).

    It is positive where the image looks malignant to the runs, and negative where it looks benign.

    Args:
        network: The network with its pretrained weights.
        strategy: The strategy of the runs.
        runs: The weights of each run.
        squares: The images as the network sees them (n, size, size, 3).
    """
    import tensorflow as tf

    model = strategies.STRATEGIES[strategy].model(network, "explained")
    ends, logit = strategies.STRATEGIES[strategy].explained(network, model)
    images = tf.cast(squares, tf.float32)
    # Only `full` trains what computes the ends; else they are the same for all runs.
    frozen = None if strategy == "full" else ends(images)
    total = np.zeros(squares.shape[:3], np.float32)
    for weights in reported(runs, "runs explained", len(runs)):
        model.set_weights(weights)
        # The first array of the layer is the mean of each feature in training.
        usual = model.get_layer("standardise").get_weights()[0]
        total += _gradients(frozen or ends(images), logit, usual, squares.shape[1])
    return np.asarray(total / len(runs), np.float32)


def _gradients(
    ends: Ends, logit: Callable[[Ends], Any], usual: NDArray[np.float32], size: int
) -> NDArray[np.float32]:
    """Returns the saliency (n, size, size) of one model.

    Args:
        ends: The outputs of the stages that the logit reads.
        logit: Computes the logits from these.
        usual: The means of the model's features in training; those of `ends` come first.
        size: Side of an image in pixels.
    """
    import tensorflow as tf

    with tf.GradientTape() as tape:
        for end in ends:
            tape.watch(end)
        # The images are independent: the gradient of the sum is that of each image's own logit.
        outcome = tf.reduce_sum(logit(ends))
    total, first = 0.0, 0
    for end, gradient in zip(ends, tape.gradient(outcome, ends), strict=True):
        last = first + end.shape[-1]
        share = tf.reduce_sum((end - usual[first:last]) * gradient, axis=-1, keepdims=True)
        first = last
        # One value of a coarse stage becomes many pixels. The factor keeps their sum the same, so
        # that all stages count alike, whatever their resolution.
        total += tf.image.resize(share, (size, size)) * (end.shape[1] * end.shape[2] / size**2)
    return np.asarray(total, np.float32)[..., 0]


def overlay(square: NDArray[np.uint8], salient: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Returns an image (size, size, 3) with what led to its prediction (size, size) in orange.

    Pixels with negative values, which contradicted the prediction, stay as they are.
    """
    strength = np.clip(salient, 0, None)
    alpha = (STRONGEST * strength / max(float(strength.max()), 1e-9))[..., None]
    return np.asarray(square * (1 - alpha) + np.array(COLOUR) * alpha, np.uint8)


def jpeg(square: NDArray[np.uint8]) -> bytes:
    """Returns a picture as a JPEG file."""
    written = io.BytesIO()
    Image.fromarray(square).save(written, "JPEG", quality=QUALITY)
    return written.getvalue()
