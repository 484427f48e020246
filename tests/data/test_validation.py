from __future__ import annotations

import pandas as pd
import pytest

from skin_pipeline.data import validation


def table(**changes):
    count = 40
    frame = pd.DataFrame({
        "image_id": [f"i{i}" for i in range(count)],
        "key": [f"k{i}" for i in range(count)],
        "label": ["benign", "malignant"] * (count // 2),
        "sha256": [f"s{i}" for i in range(count)],
        "pixels_sha256": [f"p{i}" for i in range(count)],
        "width": 600,
        "height": 450,
        "bytes": 1000,
        "readable": True,
        "problem": "",
        "shard": 0,
        "row": range(count),
        **dict.fromkeys(validation.METADATA, ""),
        "group": [f"g{i}" for i in range(count)],
    })
    return frame.assign(**changes)


def first(value, rest):
    return [value, *[rest] * 39]


CASES = [
    ("nothing", {}, None, None),
    (
        "unknown label",
        {"label": ["nevus", *["benign", "malignant"] * 19, "benign"]},
        "labels",
        "critical",
    ),
    (
        "unreadable image",
        {"readable": first(False, True)},
        "share of images that can be decoded",
        "critical",
    ),
    ("tiny image", {"width": first(20, 600)}, "width of readable images in pixels", "critical"),
    (
        "huge image",
        {"height": first(30_000, 450)},
        "height of readable images in pixels",
        "critical",
    ),
    (
        "one file twice",
        {"key": ["k0", "k0", *[f"k{i}" for i in range(2, 40)]]},
        "each file stands once",
        "critical",
    ),
    (
        "same pixels twice",
        {"pixels_sha256": ["p0", "p0", *[f"p{i}" for i in range(2, 40)]]},
        "no two images have the same pixels",
        "warning",
    ),
    (
        "too few malignant",
        {"label": first("malignant", "benign")},
        "readable malignant images",
        "critical",
    ),
    ("no group", {"group": first("", "g")}, "no group has an empty name", "critical"),
]


@pytest.mark.parametrize(
    ("changes", "failed", "severity"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_the_check_that_fails_is_the_one_that_the_fault_breaks(tmp_path, changes, failed, severity):
    checks = validation.check(table(**changes), tmp_path, min_per_class=10, max_unreadable=0.0)
    names = {item.name: item.severity for item in checks if not item.passed}
    assert names == ({failed: severity} if failed else {})


def test_a_missing_column_fails(tmp_path):
    checks = validation.check(
        table().drop(columns="sex"), tmp_path, min_per_class=10, max_unreadable=0.0
    )
    assert [item.name for item in checks if not item.passed] == ["columns of the manifest"]


def test_an_unreadable_image_within_the_share_passes(tmp_path):
    checks = validation.check(
        table(readable=first(False, True), width=first(0, 600), height=first(0, 450)),
        tmp_path,
        min_per_class=10,
        max_unreadable=0.05,
    )
    assert all(item.passed for item in checks)


def test_data_docs_are_written_and_carry_the_descriptions(tmp_path):
    validation.check(table(), tmp_path, min_per_class=10, max_unreadable=0.0)
    assert (tmp_path / "index.html").is_file()
    pages = "".join(path.read_text() for path in tmp_path.rglob("validations/**/*.html"))
    assert "readable malignant images" in pages
