"""Each fault of the images is found by the check that is there for it, and by no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sound_tables import BOUNDS, COUNT, PAIRED, QUARANTINED, failed, first, groups_of, table, twice

from skin_pipeline.data import validation
from skin_pipeline.data.validation import manifest_suite

LOOKS = [f"{name} ({unit})" for name, _, _, unit, _ in manifest_suite.LOOKS]
# What is wrong: changes to the table, the checks that fail, their severity. Faults that have
# nothing to do with each other stand in one table, as a run of the suite takes most of a second.
FAULTS: dict[str, tuple[dict[str, Any], list[str], str | None]] = {
    "nothing": ({}, [], None),
    "an unknown label, a file twice, no group, no anchor": (
        {
            "label": ["nevus", *table()["label"][1:]],
            "key": twice("key"),
            "group": ["", *[f"g{i}" for i in range(1, COUNT)]],
            "anchor": first("", "a"),
        },
        ["labels", "each file stands once", "each image has a group", "each image has an anchor"],
        "critical",
    ),
    "a quarantined image": (QUARANTINED, ["share of images that can be decoded"], "critical"),
    "too few malignant": (
        {"label": first(*["malignant"] * 9, "benign")},
        ["readable malignant images"],
        "critical",
    ),
    "a tiny and a huge image": (
        {"width": first(20, 20_000, 600), "height": first(20, 30_000, 450)},
        ["width of readable images in pixels", "height of readable images in pixels"],
        "critical",
    ),
    "a patient and a lesion in two groups": (
        {
            "patient_id": twice("p"),
            "lesion_id": first("l", "x", "l", ""),
        },
        ["each patient is in one group", "each lesion is in one group"],
        "critical",
    ),
    "black images": (
        {"brightness": 0.5, "contrast": 0.2, "sharpness": 0.1},
        LOOKS,
        "warning",
    ),
    "blank images": ({"brightness": 255, "contrast": 0, "sharpness": 0}, LOOKS, "warning"),
    "blurred strips": (
        {"width": 3000, "height": 300, "sharpness": 1.5},
        ["width divided by height", "sharpness (mean Laplacian of a thumbnail)"],
        "warning",
    ),
    "noise, converted": (
        {"sharpness": 90.0, "converted": first(*["CMYK to RGB"] * 5, "")},
        ["sharpness (mean Laplacian of a thumbnail)", "images used as they are"],
        "warning",
    ),
    "copies, also of an external image, and a lesion of two minds": (
        {
            "pixels_sha256": twice("p"),
            "external": first("isic2017", ""),
            "lesion_id": twice("l"),
            "group": PAIRED,
        },
        [
            "no two images have the same pixels",
            "images of a lesion have one label",
            "no image is shared with an external set",
        ],
        "warning",
    ),
    "metadata outside its domain": (
        {"age": first("450", "45"), "sex": "1", "site": "kitchen"},
        ["age, where given", "sex, where given", "site, where given"],
        "warning",
    ),
    "ages that are no numbers": ({"age": "forty"}, ["age, where given"], "warning"),
}
SOUND: dict[str, dict[str, Any]] = {
    "no metadata": dict.fromkeys(("patient_id", "lesion_id", "sex", "age", "site"), ""),
    "metadata in other spellings, one image converted, booleans as numbers": {
        "sex": "F",
        "age": first("0", "110.0", "7.5", "65"),
        "site": first("Anterior Torso", "head/neck", "palms/soles", "lower extremity"),
        "converted": first("turned upright", ""),
        "readable": 1,
    },
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_the_check_that_is_there_for_it_and_no_other(
    tmp_path: Path, fault: str
) -> None:
    changes, names, severity = FAULTS[fault]
    checks = validation.check_manifest(table(**changes), tmp_path, **BOUNDS)
    assert failed(checks) == dict.fromkeys(names, severity)


@pytest.mark.parametrize("case", SOUND)
def test_sound_data_passes_every_check(tmp_path: Path, case: str) -> None:
    checks = validation.check_manifest(table(**SOUND[case]), tmp_path, **BOUNDS)
    assert failed(checks) == {}


# The last values that pass, and one step beyond on either side: in so few images, one that is off
# is more than the share that may be.
WITHIN = {
    "brightness": first(40.0, 240.0, 150.0),
    "contrast": first(5.0, 100.0, 25.0),
    "sharpness": first(2.5, 60.0, 8.0),
    "width": first(64, 20_000, 400, 1000, 600),
    "height": first(64, 20_000, 1000, 400, 450),
    "converted": first(*["turned upright"] * 4, ""),
    "age": first("0", "110", "109.5", "45"),
    "site": first("kitchen", "kitchen", "torso"),
}
BEYOND = {
    "below": {
        "brightness": first(39.9, 150.0),
        "contrast": first(4.9, 25.0),
        "sharpness": first(2.4, 8.0),
        "width": first(63, 390, 600),
        "height": first(64, 1000, 450),
        "converted": first(*["turned upright"] * 5, ""),
        "age": first("-1", "45"),
        "sex": first("x", "male"),
        "site": first("kitchen", "kitchen", "kitchen", "torso"),
    },
    "above": {
        "brightness": first(240.1, 150.0),
        "contrast": first(100.1, 25.0),
        "sharpness": first(60.1, 8.0),
        "width": first(20_001, 1010, 600),
        "height": first(20_000, 400, 450),
        "converted": first(*["turned upright"] * 5, ""),
        "age": first("111", "45"),
        "sex": first("males", "male"),
        "site": first("kitchen", "kitchen", "kitchen", "torso"),
    },
}


def test_what_lies_on_a_bound_passes(tmp_path: Path) -> None:
    label = first(*["malignant"] * 4, "benign")
    checks = validation.check_manifest(
        table(**WITHIN, label=label), tmp_path, **{**BOUNDS, "min_per_class": 4}
    )
    assert failed(checks) == {}


@pytest.mark.parametrize("side", BEYOND)
def test_what_lies_a_little_beyond_a_bound_fails_its_check(tmp_path: Path, side: str) -> None:
    checks = validation.check_manifest(table(**BEYOND[side]), tmp_path, **BOUNDS)
    assert failed(checks) == {
        "width of readable images in pixels": "critical",
        **dict.fromkeys(
            [
                *("width divided by height", "images used as they are", *LOOKS),
                *("age, where given", "sex, where given", "site, where given"),
            ],
            "warning",
        ),
    }


def test_the_share_of_images_that_can_be_decoded_is_held_against_its_own_bound(
    tmp_path: Path,
) -> None:
    """Three of 40 are .075."""
    off = {name: [values[0]] * 3 + values[1:38] for name, values in QUARANTINED.items()}
    for most, passes in ((0.075, True), (0.074, False)):
        checks = validation.check_manifest(
            table(**off), tmp_path, **{**BOUNDS, "max_unreadable": most}
        )
        assert failed(checks) == (
            {} if passes else {"share of images that can be decoded": "critical"}
        )


def test_quarantined_images_do_not_count_as_images_of_their_class(tmp_path: Path) -> None:
    off = {name: [values[0]] * 3 + values[1:38] for name, values in QUARANTINED.items()}
    bounds = {**BOUNDS, "min_per_class": 19, "max_unreadable": 0.5}
    checks = validation.check_manifest(table(**off), tmp_path, **bounds)
    assert failed(checks) == {"readable benign images": "critical"}  # 18, and 19 malignant


def test_duplicates_in_two_groups_are_a_leak_to_come(tmp_path: Path) -> None:
    checks = validation.check_manifest(table(duplicates=first("d", "d", "")), tmp_path, **BOUNDS)
    assert failed(checks)["each set of duplicates is in one group"] == "critical"


def test_copies_of_the_same_pixels_are_not_told_twice(tmp_path: Path) -> None:
    changes = {"duplicates": first("d", "d", ""), "pixels_sha256": "p", "group": "g"}
    checks = validation.check_manifest(table(**changes), tmp_path, **BOUNDS)
    assert "no two images have the same pixels" in failed(checks)
    assert "no two images are nearly the same" not in failed(checks)


GIANT = "no group holds a large share of the images"


def test_a_giant_group_and_nothing_else_ends_the_run(tmp_path: Path) -> None:
    checks = validation.check_manifest(table(**groups_of(13, *[1] * 27)), tmp_path, **BOUNDS)
    assert failed(checks) == {GIANT: "critical"}
    bounds = {**BOUNDS, "max_group_share": 0.33}
    assert (
        failed(validation.check_manifest(table(**groups_of(13, *[1] * 27)), tmp_path, **bounds))
        == {}
    )


def test_images_that_cannot_be_read_do_not_count_to_a_groups_share(tmp_path: Path) -> None:
    unreadable = {name: first(*[value[0]] * 8, value[-1]) for name, value in QUARANTINED.items()}
    changes = table(**{**unreadable, **groups_of(12, *[1] * 28)})
    bounds = {**BOUNDS, "max_unreadable": 0.5}
    assert failed(validation.check_manifest(changes, tmp_path, **bounds)) == {}


def test_a_class_that_nearly_all_images_belong_to_is_a_warning(tmp_path: Path) -> None:
    label = first(*["malignant"] * 3, "benign")
    checks = validation.check_manifest(
        table(label=label), tmp_path, **{**BOUNDS, "min_per_class": 3}
    )
    assert failed(checks) == {"share of malignant images": "warning"}
    (balance,) = [item for item in checks if not item.passed]
    assert (balance.observed, balance.bound) == ("0.075", "0.1 to 0.9")


def test_a_missing_column_is_the_only_thing_said(tmp_path: Path) -> None:
    checks = validation.check_manifest(table().drop(columns="sex"), tmp_path, **BOUNDS)
    assert failed(checks) == {"columns of the manifest": "critical"}
    assert len(checks) == 1
    assert checks[0].observed.endswith("without sex")


def test_columns_that_nobody_agreed_on_are_counted_too(tmp_path: Path) -> None:
    known = table()
    checks = validation.check_manifest(known.assign(camera="one"), tmp_path, **BOUNDS)
    assert checks[0].name == "columns of the manifest"
    # Three columns are made for expectations only; `readable` is replaced.
    assert checks[0].observed == f"{known.shape[1] + 1 + 3} columns"


def test_a_quarantined_image_within_the_share_passes(tmp_path: Path) -> None:
    changes = table(**QUARANTINED)
    checks = validation.check_manifest(changes, tmp_path, **{**BOUNDS, "max_unreadable": 0.05})
    assert failed(checks) == {}
