from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skin_pipeline.data import demo, sources


def test_a_seed_gives_the_same_images(tmp_path: Path) -> None:
    digests = []
    for index, seed in enumerate((1, 1, 2)):
        demo.generate(tmp_path / str(index), seed, per_class=4)
        digests.append(sources.find(tmp_path / str(index)).digest)
    assert digests[0] == digests[1] != digests[2]


def test_both_classes_and_their_metadata_are_written(tmp_path: Path) -> None:
    demo.generate(tmp_path / "demo", 0, per_class=5)
    images = sources.find(tmp_path / "demo")
    assert [item.label for item in images.files] == ["benign"] * 5 + ["malignant"] * 5
    table = pd.read_csv(images.tables[0])
    assert sorted(table["image_name"]) == sorted(item.path.stem for item in images.files)


def test_patients_have_several_images_and_the_label_tells_nothing_else(tmp_path: Path) -> None:
    demo.generate(tmp_path / "demo", 0, per_class=80)
    table = pd.read_csv(tmp_path / "demo/metadata.csv")
    images = table.groupby("patient_id").size()
    assert 60 < len(images) < 80
    assert images.max() > 3
    malignant = table["image_name"].str.startswith("DEMO_M")
    both = malignant.groupby(table["patient_id"]).nunique() == 2
    assert both.sum() > 10
    assert set(table["site"]) == set(demo.SITES)
    assert set(table["sex"]) == {"female", "male"}
    assert table["age_approx"].between(20, 85).all()
    assert abs(table["age_approx"][malignant].mean() - table["age_approx"][~malignant].mean()) < 8


def roughness(image: Image.Image) -> float:
    """The length of the outline against that of a disc of the same area."""
    inside = np.asarray(image.convert("L"), float) < 150
    steps = sum((np.diff(inside.astype(int), axis=axis) != 0).sum() for axis in (0, 1))
    return float(steps / np.sqrt(inside.sum()))


def colours(image: Image.Image) -> float:
    """How far pixels inside the lesion differ in colour."""
    pixels = np.asarray(image, float)
    return float(pixels[np.asarray(image.convert("L")) < 130].std(axis=0).mean())


@pytest.mark.parametrize("sign", [roughness, colours])
def test_malignant_drawings_are_less_regular_and_of_more_colours(
    sign: Callable[[Image.Image], float],
) -> None:
    rng = np.random.default_rng(0)
    benign, malignant = (
        [sign(demo.lesion(rng, malignant=label)) for _ in range(30)] for label in (False, True)
    )
    assert np.quantile(malignant, 0.25) > np.quantile(benign, 0.75)
