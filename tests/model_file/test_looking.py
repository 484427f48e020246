"""A released model sees of an image the squares that were packed of it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageDraw

from skin_pipeline.data.images import working_squares
from skin_pipeline.geometry import Geometry
from skin_pipeline.model_file import looking

SIZES = [(64, 64), (200, 150), (151, 199), (600, 450), (50, 40), (80, 81), (1201, 900)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("field_of_view", [0.8, 1.0])
def test_the_model_cuts_an_image_as_the_packed_images_were_cut(
    size: tuple[int, int], field_of_view: float
) -> None:
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    image = coarse.resize(size, Image.Resampling.BICUBIC)
    assert apart(image, Geometry(64, field_of_view)) <= 1.01


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("where", [(0.5, 0.5), (0.4, 0.6), (0.35, 0.35)])
@pytest.mark.parametrize("field_of_view", [0.8, 0.77, 1.0])
def test_the_model_finds_the_lesion_where_it_was_packed(
    size: tuple[int, int], where: tuple[float, float], field_of_view: float
) -> None:
    image, short = Image.new("RGB", size, (210, 160, 140)), min(size)
    # Within the centre square.
    x, y = ((side - short) / 2 + share * short for side, share in zip(size, where, strict=True))
    drawn, radius = ImageDraw.Draw(image), 0.2 * short
    drawn.ellipse((x - radius, y - radius, x + radius, y + radius), (90, 60, 50))
    drawn.ellipse((x, y, x + radius / 2, y + radius / 2), (30, 30, 90))
    assert apart(image, Geometry(64, field_of_view, 2)) <= 1.5


def apart(image: Image.Image, geometry: Geometry) -> float:
    """Returns by how many grey levels the model's squares differ from the packed ones at most.

    Pillow rounds to whole grey levels after each of its two passes.
    """
    inputs = keras.Input((None, None, 3), dtype="uint8")
    about = geometry.size, geometry.whole_side, geometry.regions
    model = keras.Model(inputs, looking.squares(keras, inputs, *about))
    seen = np.asarray(model(np.asarray(image)[None], training=False))[0]
    return float(np.abs(seen - working_squares(image, geometry)).max())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("in_a_graph", ["predict", "tf.function"])
def test_in_a_graph_the_model_sees_the_same_pixels(size: tuple[int, int], in_a_graph: str) -> None:
    rng = np.random.default_rng(2)
    coarse = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
    image = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))[None]
    inputs = keras.Input((None, None, 3), dtype="uint8")
    model = keras.Model(inputs, looking.squares(keras, inputs, 64, 80, 2))
    graph: Any = tf.function(model)
    usual = np.asarray(model(image))
    seen = model.predict(image, verbose=0) if in_a_graph == "predict" else np.asarray(graph(image))
    np.testing.assert_array_equal(seen[:, :64], usual[:, :64])
    # Floats are added in another order, so some pixels are rounded to the next grey level.
    assert np.abs(seen[:, 64:] - usual[:, 64:]).max() <= 1
    np.testing.assert_array_equal(seen, seen.round())


def test_the_squares_are_found_in_a_model_by_their_layer() -> None:
    for regions in (1, 2):
        image = keras.Input((None, None, 3), dtype="uint8")
        squares = looking.squares(keras, image, 32, 40, regions)
        model = keras.Model(image, keras.layers.Rescaling(2.0)(squares))
        assert looking.seen(model).shape == (None, 32 * regions, 32, 3)
