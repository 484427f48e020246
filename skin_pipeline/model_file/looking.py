"""What a released model sees of an image: the same squares as `data.images.working_squares` cuts.

All of it is made of Keras's own layers and functions, for an image of any size.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from skin_pipeline import lesions
from skin_pipeline.geometry import Geometry

CENTRE, WHOLE, LESION, SQUARES = "field_of_view", "centre_square", "lesion_square", "squares"
Scaled = Literal["uint8", "float32"]


def squares(
    keras: Any,
    image: Any,
    image_size: int,
    whole_side: int,
    regions: int,
    scaled: Scaled = "uint8",
) -> Any:
    """Returns the squares of RGB images, below each other (n, regions * image_size, image_size, 3).

    Args:
        keras: The library.
        image: The input of the model, (n, height, width, 3) of uint8.
        image_size: Side of a square in pixels.
        whole_side: Side in pixels to which the whole centre square is scaled, before it is cut.
        regions: 1 for the centre, 2 for the square around the lesion too.
        scaled: The numbers of the whole centre square: grey levels, as Pillow makes them too. In
            earlier models they are `float32`, and Keras rounds them to grey levels except within a
            graph (`model.predict`, `tf.function`, TensorFlow Serving).
    """
    how = {"crop_to_aspect_ratio": True, "antialias": True, "dtype": scaled}
    resize = keras.layers.Resizing(whole_side, whole_side, name=WHOLE, **how)
    crop = keras.layers.CenterCrop(image_size, image_size, name=CENTRE)
    # Keras calls its layers for images as in training unless told otherwise, and all layers behind
    # them with them: a network with dropout would then give an image another probability each time.
    whole = resize(image, training=False) if scaled == "uint8" else resize(image)
    centre = crop(whole, training=False)
    if regions == 1:
        return centre
    # A model within the model, whose many small functions are one layer to whoever looks at it.
    original = keras.Input(image.shape[1:], dtype=image.dtype)
    levels = keras.Input(whole.shape[1:])  # Keras converts them: in uint8 sums would overflow
    cut = _lesion(keras, original, levels, image_size)
    lesion = keras.Model([original, levels], cut, name=LESION)([image, whole])
    return keras.layers.Concatenate(axis=1, name=SQUARES)([centre, lesion])


def seen(model: Any) -> Any:
    """Returns the squares (n, regions * size, size, 3) in a model that begins with `squares`."""
    named = {layer.name: layer for layer in model.layers}
    return (named.get(SQUARES) or named[CENTRE]).output


def geometry_of(model: Any) -> Geometry:
    """Returns how images are packed for a model that begins with `squares`."""
    packed = seen(model)
    size, whole_side = int(packed.shape[2]), int(model.get_layer(WHOLE).height)
    return Geometry(size, size / whole_side, int(packed.shape[1]) // size)


def _lesion(keras: Any, image: Any, whole: Any, size: int) -> Any:
    """Returns the square around the lesion (n, size, size, 3), cut out of the image itself."""
    around = lesions.around_lesion(lesions.InKeras(keras), whole, size / whole.shape[1])
    ops = keras.ops
    pixels = ops.cast(image, "float32")
    rows, columns = (lesions.middles(ops, one) for one in (pixels[:, :, 0, 0], pixels[:, 0, :, 0]))
    high, wide = (ops.max(one, axis=1, keepdims=True) + 0.5 for one in (rows, columns))
    short = ops.minimum(high, wide)
    step = around.side * short / size
    upper, left = (ops.floor((one - short) / 2) for one in (high, wide))
    down = _weights(ops, rows, upper + around.top * short, step, size)
    along = _weights(ops, columns, left + around.left * short, step, size)
    # As Pillow does: along the rows first, and each time to whole grey levels. A network tells the
    # difference, which is a noise of its own where a small image is enlarged.
    narrowed = _rounded(ops, ops.einsum("nxw,nhwc->nhxc", along, pixels))
    return _rounded(ops, ops.einsum("nyh,nhxc->nyxc", down, narrowed))


def _rounded(ops: Any, pixels: Any) -> Any:
    return ops.floor(pixels + 0.5)


def _weights(ops: Any, middles: Any, start: Any, step: Any, size: int) -> Any:
    """Returns what each pixel of a line counts in each pixel of the square (n, size, pixels).

    They fall linearly with the distance, as Pillow's bilinear filter does.

    Args:
        ops: Functions of Keras.
        middles: Of the pixels of the line (n, pixels).
        start: Where the square begins (n, 1).
        step: Pixels of the line in one of the square (n, 1).
        size: Side of the square in pixels.
    """
    places = ops.expand_dims(start + step * (np.arange(size, dtype=np.float32) + 0.5), 2)
    reach = ops.expand_dims(ops.maximum(step, 1.0), 2)
    weights = ops.maximum(1.0 - ops.abs(ops.expand_dims(middles, 1) - places) / reach, 0.0)
    return weights / ops.sum(weights, axis=2, keepdims=True)
