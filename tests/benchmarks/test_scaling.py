"""Growth is told from what the steps took, and drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
import scaling
from drawing import draw_lesions
from measuring import Apart
from PIL import Image

COUNTS = [1000, 4000, 16_000]


def took(power: float, constant: float = 0.0) -> list[Apart]:
    """Returns what a step takes that grows with a power of the number of images."""
    values = [constant + 1e-3 * count**power for count in COUNTS]
    return [Apart(value, 2 * value, 3 * value, value, None) for value in values]


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_the_exponent_is_the_power_with_which_a_step_grows(power: float) -> None:
    assert scaling.Growth.of(COUNTS, took(power)) == pytest.approx((power,) * 3)


def test_what_a_step_takes_at_any_size_hides_growth_and_less_so_between_large_sizes() -> None:
    each = took(2.0, constant=10_000.0)
    whole = scaling.Growth.of(COUNTS, each).seconds
    last = scaling.Growth.of(COUNTS[-2:], each[-2:]).seconds
    assert whole < last < 2


def test_the_table_has_both_exponents_of_time_and_memory_of_each_step() -> None:
    rows = dict(scaling.table(COUNTS, {"ingest": took(1.0), "split": took(2.0)}))
    assert rows["ingest seconds"].split() == ["1.0", "4.0", "16.0", "1.00", "1.00"]
    assert rows["ingest mib"].split() == ["3", "12", "48", "1.00", "1.00"]
    assert rows["split core"].split()[-2:] == ["2.00", "2.00"]


def test_the_growth_is_drawn(tmp_path: Path) -> None:
    scaling.plot(tmp_path / "drawn.png", COUNTS, {"ingest": took(1.0)})
    with Image.open(tmp_path / "drawn.png") as image:
        assert image.width > image.height > 100


def test_half_of_the_drawn_images_are_malignant(tmp_path: Path) -> None:
    for label in ("benign", "malignant"):
        (tmp_path / label).mkdir()
    assert draw_lesions(range(8), tmp_path) == 8
    files = {file.name: file.parent.name for file in tmp_path.rglob("*.jpg")}
    assert sorted(files.values()) == ["benign"] * 4 + ["malignant"] * 4
    assert files["image000001.jpg"] == "benign"
