"""A finding in words names the images, and what was seen in them."""

from __future__ import annotations

import re
from pathlib import Path

from sound_tables import BOUNDS, PAIRED, SIDES, divided, failed, first, table

from skin_pipeline.data import validation


def test_duplicates_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    changes = {"duplicates": first("d", "d", "x", ""), "group": PAIRED}
    checks = validation.check_manifest(table(**changes), tmp_path, **BOUNDS)
    assert failed(checks) == {
        "duplicates have one label": "critical",
        "no two images are nearly the same": "warning",
    }
    (conflict,) = [item for item in checks if item.name == "duplicates have one label"]
    assert conflict.observed == "1 found (d: key0 (benign), key1 (malignant))"
    (copies,) = [item for item in checks if item.name == "no two images are nearly the same"]
    assert copies.observed == "2 images in 1 group (key0 = key1)"


def test_no_readable_image_at_all_is_a_result_and_no_crash(tmp_path: Path) -> None:
    checks = validation.check_manifest(table(readable=False), tmp_path, **BOUNDS)
    critical = {name for name, severity in failed(checks).items() if severity == "critical"}
    assert critical == {
        "share of images that can be decoded",
        "readable benign images",
        "readable malignant images",
    }
    (balance,) = [item for item in checks if item.name == "share of malignant images"]
    assert balance.observed == "nothing to look at"


def test_the_images_that_are_off_are_named_with_what_was_seen(tmp_path: Path) -> None:
    checks = validation.check_manifest(table(width=first(20, 21, 600)), tmp_path, **BOUNDS)
    (width,) = [item for item in checks if item.name == "width of readable images in pixels"]
    assert width.observed == "2 of 40 off (key0: 20; key1: 21)"
    assert width.bound == "64 to 20000"


def test_a_leak_names_images_runs_and_sides(tmp_path: Path) -> None:
    leaking = divided(patient_id=first("p", *[""] * 8, "p", ""))
    checks = validation.check_split(leaking, tmp_path)
    (leak,) = [item for item in checks if not item.passed]
    assert set(re.findall(r"key\d \(run_\d \w+\)", leak.observed)) == {
        "key0 (run_0 test)",
        "key9 (run_0 validation)",
        "key0 (run_1 test)",
        "key9 (run_1 train)",
    }


def test_a_leak_names_images_of_every_side_however_many_are_on_one(tmp_path: Path) -> None:
    """The first images alone would all be of one side, and show no leak."""
    patient = [*[""] * 16, *["p"] * 12, *[""] * 12]
    leaking = divided(patient_id=patient, run_0=[*SIDES[:27], "validation", *SIDES[28:]])
    checks = validation.check_split(leaking, tmp_path)
    (leak,) = [item for item in checks if not item.passed]
    assert re.findall(r"key\d+ \(run_0 \w+\)", leak.observed) == [
        *("key16 (run_0 train)", "key17 (run_0 train)", "key18 (run_0 train)"),
        "key27 (run_0 validation)",
    ]
