"""The suites: each fault is found by the check that is there for it, and told in the Data Docs."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skin_pipeline.data import validation
from skin_pipeline.data.validation import expectations, suites

COUNT = 40
BOUNDS = {"min_per_class": 10, "max_unreadable": 0.0, "max_group_share": 0.1}


def table(**changes) -> pd.DataFrame:
    """A sound manifest of 40 images, with changes."""
    names = {column: [f"{column}{i}" for i in range(COUNT)] for column in suites.COLUMNS}
    frame = pd.DataFrame({
        **names,
        "label": ["benign", "malignant"] * (COUNT // 2),
        "format": "JPEG",
        "width": 600,
        "height": 450,
        "bytes": 1000,
        "readable": True,
        "problem": "",
        "converted": "",
        "brightness": 150.0,
        "contrast": 25.0,
        "sharpness": 8.0,
        "sex": ["female", "male"] * (COUNT // 2),
        "age": "45.0",
        "site": "torso",
        "duplicates": "",
        "external": "",
        "shard": 0,
        "row": range(COUNT),
    })
    return frame.assign(**changes)


def first(*values_and_rest):
    """The values for the first images, the last one for all others."""
    *values, rest = values_and_rest
    return [*values, *[rest] * (COUNT - len(values))]


def twice(column: str) -> list[str]:
    """Names of which the first stands twice."""
    return [f"{column}0", *[f"{column}{i}" for i in range(COUNT - 1)]]


PAIRED = ["g", "g", *[f"g{i}" for i in range(2, COUNT)]]  # groups, of which one has two images
BENIGN_THEN_MALIGNANT = ["benign"] * 2 + ["malignant", "benign"] * 19
QUARANTINED = {
    "readable": first(False, True),
    "brightness": first(np.nan, 150.0),
    "contrast": first(np.nan, 25.0),
    "sharpness": first(np.nan, 8.0),
    "width": first(0, 600),
    "height": first(0, 450),
}

LOOKS = [f"{name} ({unit})" for name, _, _, unit, _ in suites.LOOKS]

# What is wrong: changes to the table, the checks that fail, their severity. Faults that have
# nothing to do with each other stand in one table, as a run of the suite takes most of a second.
FAULTS = {
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
SOUND = {
    "no metadata": dict.fromkeys(("patient_id", "lesion_id", "sex", "age", "site"), ""),
    "metadata in other spellings, one image converted, booleans as numbers": {
        "sex": "F",
        "age": first("0", "110.0", "7.5", "65"),
        "site": first("Anterior Torso", "head/neck", "palms/soles", "lower extremity"),
        "converted": first("turned upright", ""),
        "readable": 1,
    },
}


def failed(checks) -> dict[str, str]:
    return {item.name: item.severity for item in checks if not item.passed}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_the_check_that_is_there_for_it_and_no_other(tmp_path, fault):
    changes, names, severity = FAULTS[fault]
    checks = validation.check_manifest(table(**changes), tmp_path, **BOUNDS)
    assert failed(checks) == dict.fromkeys(names, severity)


@pytest.mark.parametrize("case", SOUND)
def test_sound_data_passes_every_check(tmp_path, case):
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


def test_what_lies_on_a_bound_passes(tmp_path):
    label = first(*["malignant"] * 4, "benign")
    checks = validation.check_manifest(
        table(**WITHIN, label=label), tmp_path, **{**BOUNDS, "min_per_class": 4}
    )
    assert failed(checks) == {}


@pytest.mark.parametrize("side", BEYOND)
def test_what_lies_a_little_beyond_a_bound_fails_its_check(tmp_path, side):
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


def test_the_share_of_images_that_can_be_decoded_is_held_against_its_own_bound(tmp_path):
    """Three of 40 are .075."""
    off = {name: [values[0]] * 3 + values[1:38] for name, values in QUARANTINED.items()}
    for most, passes in ((0.075, True), (0.074, False)):
        checks = validation.check_manifest(
            table(**off), tmp_path, **{**BOUNDS, "max_unreadable": most}
        )
        assert failed(checks) == (
            {} if passes else {"share of images that can be decoded": "critical"}
        )


def test_quarantined_images_do_not_count_as_images_of_their_class(tmp_path):
    off = {name: [values[0]] * 3 + values[1:38] for name, values in QUARANTINED.items()}
    bounds = {**BOUNDS, "min_per_class": 19, "max_unreadable": 0.5}
    checks = validation.check_manifest(table(**off), tmp_path, **bounds)
    assert failed(checks) == {"readable benign images": "critical"}  # 18, and 19 malignant


def test_duplicates_in_two_groups_are_a_leak_to_come(tmp_path):
    checks = validation.check_manifest(table(duplicates=first("d", "d", "")), tmp_path, **BOUNDS)
    assert failed(checks)["each set of duplicates is in one group"] == "critical"


def test_duplicates_that_contradict_each_other_are_named(tmp_path):
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


def test_copies_of_the_same_pixels_are_not_told_twice(tmp_path):
    changes = {"duplicates": first("d", "d", ""), "pixels_sha256": "p", "group": "g"}
    checks = validation.check_manifest(table(**changes), tmp_path, **BOUNDS)
    assert "no two images have the same pixels" in failed(checks)
    assert "no two images are nearly the same" not in failed(checks)


def groups_of(*sizes: int) -> dict[str, list[str]]:
    """Patients with so many images, each a group."""
    names = [f"P{number}" for number, size in enumerate(sizes) for _ in range(size)]
    return {"patient_id": names, "group": [f"patient_id:{name}" for name in names]}


GIANT = "no group holds a large share of the images"
SHARES = {  # groups, the share that one may have, and whether one has more
    "everybody is one patient": ((40,), 0.1, True),
    "a third has no patient": ((13, *[1] * 27), 0.1, True),
    "just over the bound": ((13, *[1] * 27), 0.3, True),
    "just at the bound": ((12, *[1] * 28), 0.3, False),
    "a handful": ((10, *[1] * 30), 0.1, False),
    "three patients": ((14, 13, 13), 0.1, False),
    "two patients": ((20, 20), 0.1, False),
    "one of three patients with more than half": ((22, 9, 9), 0.1, True),
    "ten patients, one with twice the mean": ((8, *[4] * 7, 2, 2), 0.1, False),
    "ten patients, one with three times the mean": ((12, *[4] * 5, *[2] * 4), 0.1, True),
    "all of one patient, and that is meant": ((40,), 1.0, False),
}


@pytest.mark.parametrize("case", SHARES)
def test_a_group_with_a_large_share_of_the_images_is_refused(case):
    sizes, share, refused = SHARES[case]
    found = expectations.ExpectNoGiantGroup(share=share).faults(table(**groups_of(*sizes)))
    assert len(found) == refused


def test_a_giant_group_and_nothing_else_ends_the_run(tmp_path):
    checks = validation.check_manifest(table(**groups_of(13, *[1] * 27)), tmp_path, **BOUNDS)
    assert failed(checks) == {GIANT: "critical"}
    bounds = {**BOUNDS, "max_group_share": 0.33}
    assert (
        failed(validation.check_manifest(table(**groups_of(13, *[1] * 27)), tmp_path, **bounds))
        == {}
    )


def test_images_that_cannot_be_read_do_not_count_to_a_groups_share(tmp_path):
    unreadable = {name: first(*[value[0]] * 8, value[-1]) for name, value in QUARANTINED.items()}
    changes = table(**{**unreadable, **groups_of(12, *[1] * 28)})
    bounds = {**BOUNDS, "max_unreadable": 0.5}
    assert failed(validation.check_manifest(changes, tmp_path, **bounds)) == {}


REMEDIES = {
    "patient_id": "empty the cell if this stands for no patient in particular",
    "lesion_id": "empty the cell if this stands for no lesion in particular",
    "duplicates": "keep one of these copies and remove the others",
}


@pytest.mark.parametrize("link", REMEDIES)
def test_a_giant_group_is_named_by_what_holds_it_together(link):
    held = {link: first(*["x"] * 20, ""), "group": first(*["a group"] * 24, "")}
    held["group"] = [name or f"g{i}" for i, name in enumerate(held["group"])]
    assert expectations.ExpectNoGiantGroup(share=0.1).faults(table(**held)) == [
        f"a group: 24 of 40 images (60%), 20 of them with {link} 'x'; "
        f"{REMEDIES[link]}, or raise max_group_share if they belong together"
    ]


def test_a_class_that_nearly_all_images_belong_to_is_a_warning(tmp_path):
    label = first(*["malignant"] * 3, "benign")
    checks = validation.check_manifest(
        table(label=label), tmp_path, **{**BOUNDS, "min_per_class": 3}
    )
    assert failed(checks) == {"share of malignant images": "warning"}
    (balance,) = [item for item in checks if not item.passed]
    assert (balance.observed, balance.bound) == ("0.075", "0.1 to 0.9")


def test_a_missing_column_is_the_only_thing_said(tmp_path):
    checks = validation.check_manifest(table().drop(columns="sex"), tmp_path, **BOUNDS)
    assert failed(checks) == {"columns of the manifest": "critical"}
    assert len(checks) == 1
    assert checks[0].observed.endswith("without sex")


def test_a_quarantined_image_within_the_share_passes(tmp_path):
    changes = table(**QUARANTINED)
    checks = validation.check_manifest(changes, tmp_path, **{**BOUNDS, "max_unreadable": 0.05})
    assert failed(checks) == {}


def test_no_readable_image_at_all_is_a_result_and_no_crash(tmp_path):
    checks = validation.check_manifest(table(readable=False), tmp_path, **BOUNDS)
    critical = {name for name, severity in failed(checks).items() if severity == "critical"}
    assert critical == {
        "share of images that can be decoded",
        "readable benign images",
        "readable malignant images",
    }
    (balance,) = [item for item in checks if item.name == "share of malignant images"]
    assert balance.observed == "nothing to look at"


def test_the_images_that_are_off_are_named_with_what_was_seen(tmp_path):
    checks = validation.check_manifest(table(width=first(20, 21, 600)), tmp_path, **BOUNDS)
    (width,) = [item for item in checks if item.name == "width of readable images in pixels"]
    assert width.observed == "2 of 40 off (key0: 20; key1: 21)"
    assert width.bound == "64 to 20000"


# --- the split -----------------------------------------------------------------------------------

SIDES = ["test"] * 8 + ["validation"] * 8 + ["train"] * 22 + ["unused"] * 2


def divided(**changes) -> pd.DataFrame:
    """A sound split of the manifest into two runs, with changes."""
    turned = [*SIDES[:8], *["train"] * 20, *["validation"] * 12]
    return table(run_0=SIDES, run_1=turned).assign(**changes)


EVEN = "share of malignant images on each side"
LEAKS = {
    "nothing": ({}, {}),
    "a patient, a lesion, a group, duplicates on two sides": (
        {
            "group": first("g", *[""] * 8, "g", ""),
            "patient_id": first("", "p", *[""] * 8, "p", ""),
            "lesion_id": first("", "", "l", *[""] * 8, "l", ""),
            "duplicates": first("", "", "", "d", *[""] * 8, "d", ""),
        },
        {
            f"no {unit} on two sides of a run": "critical"
            for unit in ("group", "patient", "lesion", "set of duplicates")
        },
    ),
    "a group between train and validation of one run": (
        {"group": [*[f"g{i}" for i in range(15)], "x", "x", *[f"h{i}" for i in range(23)]]},
        {"no group on two sides of a run": "critical"},
    ),
    "unused images of a group": (
        {"group": [*[f"g{i}" for i in range(37)], "x", "x", "x"], "run_1": SIDES},
        {},
    ),
    "an image that is test in one run only, and a word that is no side": (
        {"run_0": ["unused", *SIDES[1:-1], "holdout"]},
        {
            "the test set is the same in all runs": "critical",
            "every image has a side": "critical",
        },
    ),
    "a side of one class": (
        {"label": ["benign"] * 8 + ["benign", "malignant"] * 16},
        {"each side has both classes": "critical", EVEN: "warning"},
    ),
    "sides that are even but for quarantined images": (
        {
            "label": ["benign", "malignant"] * 11 + ["malignant"] * 18,
            "readable": [*[True] * 22, *[False] * 18],
            **dict.fromkeys(
                ("run_0", "run_1"),
                ["test"] * 6 + ["validation"] * 6 + ["train"] * 10 + ["unused"] * 18,
            ),
        },
        {},
    ),
    "an uneven side": (
        {"label": ["malignant"] * 7 + ["benign", "malignant"] * 16 + ["benign"]},
        {EVEN: "warning"},
    ),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_fails_the_check_that_is_there_for_it(tmp_path, leak):
    changes, expected = LEAKS[leak]
    assert failed(validation.check_split(divided(**changes), tmp_path)) == expected


def test_a_leak_names_images_runs_and_sides(tmp_path):
    leaking = divided(patient_id=first("p", *[""] * 8, "p", ""))
    checks = validation.check_split(leaking, tmp_path)
    (leak,) = [item for item in checks if not item.passed]
    assert set(re.findall(r"key\d \(run_\d \w+\)", leak.observed)) == {
        "key0 (run_0 test)",
        "key9 (run_0 validation)",
        "key0 (run_1 test)",
        "key9 (run_1 train)",
    }


def test_a_leak_names_images_of_every_side_however_many_are_on_one(tmp_path):
    """The first images alone would all be of one side, and show no leak."""
    patient = [*[""] * 16, *["p"] * 12, *[""] * 12]
    leaking = divided(patient_id=patient, run_0=[*SIDES[:27], "validation", *SIDES[28:]])
    checks = validation.check_split(leaking, tmp_path)
    (leak,) = [item for item in checks if not item.passed]
    assert re.findall(r"key\d+ \(run_0 \w+\)", leak.observed) == [
        *("key16 (run_0 train)", "key17 (run_0 train)", "key18 (run_0 train)"),
        "key27 (run_0 validation)",
    ]


# --- what is written and said --------------------------------------------------------------------


@pytest.fixture(scope="module")
def docs(tmp_path_factory) -> Path:
    """Data Docs of a set with faults, in whose names HTML is hidden."""
    folder = tmp_path_factory.mktemp("docs")
    faulty = table(
        key=["<b>0</b>", *[f"k{i}" for i in range(1, COUNT)]],
        duplicates=first("d", "d", ""),
        group=PAIRED,
        sharpness=1.0,
    )
    validation.check_manifest(faulty, folder, **BOUNDS)
    return folder


def test_data_docs_are_the_same_two_pages_whenever_they_are_made(docs, tmp_path):
    assert {path.name for path in docs.iterdir()} == {"index.html", "checks.html"}
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        validation.check_manifest(table(), folder, **BOUNDS)
    for page in ("index.html", "checks.html"):
        assert (tmp_path / "a" / page).read_bytes() == (tmp_path / "b" / page).read_bytes()


def test_data_docs_need_nothing_from_elsewhere(docs):
    for page in docs.iterdir():
        text = page.read_text()
        assert not re.search(
            r"https?:|//\w|<script|<link(?! rel=\"icon\" href=\"data:)|url\(", text
        )


def test_links_between_the_pages_lead_to_the_check(docs):
    index, checks = ((docs / page).read_text() for page in ("index.html", "checks.html"))
    links = dict(re.findall(r'<a href="checks\.html#(\d+)">(.*?)</a>', index))
    titles = dict(re.findall(r'<article id="(\d+)">\n<h3>.*?</span>: (.*?)</h3>', checks))
    assert links == titles
    assert 'href="index.html"' in checks


def test_data_docs_say_what_failed_why_and_in_which_images(docs):
    index, checks = ((docs / page).read_text() for page in ("index.html", "checks.html"))
    assert re.search(r"Not fit for training: \d+ checks,\s+1 failed, 2 warnings", index)
    assert "Remove the image or correct its label." in index
    assert "Images with the same duplicates must have the same label." in checks
    assert "at least 98 % of the time" in checks
    assert "k3: 1" in checks


def test_what_a_file_is_called_is_shown_as_text(docs):
    text = (docs / "checks.html").read_text()
    assert "<b>0</b>" not in text
    assert "&lt;b&gt;0&lt;/b&gt;" in text


def test_every_expectation_reads_as_a_sentence(tmp_path):
    validation.check_manifest(table(), tmp_path, **BOUNDS)
    manifest = (tmp_path / "checks.html").read_text()
    validation.check_split(divided(), tmp_path)
    pages = manifest + (tmp_path / "checks.html").read_text()
    sentences = re.findall(r"<p>(.*?) <span class=\"muted\">\((?:critical|warning)\)", pages)
    assert len(sentences) > 30
    for sentence in sentences:
        assert sentence.endswith("."), sentence
        assert re.search(r"\b([mM]ust|may)\b", sentence), sentence
        assert not re.search(r"\$\w|None|Rendering failed|expect_|= ,|: ?\.$", sentence), sentence


def test_names_are_unique_and_say_more_than_the_type():
    for suite in (suites.manifest_suite(10, 0.01, 0.1), suites.split_suite(["run_0"])):
        names = [item.description for item in suite]
        assert len(set(names)) == len(names)
        assert all(item.notes and item.meta["bound"] for item in suite)


def test_the_log_has_a_line_a_check_and_a_sum(tmp_path, caplog):
    checks = validation.check_manifest(table(sharpness=1.0), tmp_path, **BOUNDS)
    with caplog.at_level(logging.INFO, logger="skin_pipeline"):
        validation.log_checks(checks)
    *lines, total = caplog.messages
    assert len(lines) == len(checks)
    assert all(
        re.fullmatch(r'check name=".*" observed=".*" bound=".*" verdict=".*"', s) for s in lines
    )
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert 'bound="2.5 to 60 for 98 %" verdict="failed (warning)"' in warning.getMessage()
    assert total == f"checked checks={len(checks)} passed={len(checks) - 1} warnings=1 critical=0"


def test_great_expectations_is_imported_only_for_work_and_says_nothing(tmp_path):
    code = (
        "import logging, sys, pandas\n"
        "from skin_pipeline.data import validation\n"
        "from pathlib import Path\n"
        "assert 'great_expectations' not in sys.modules\n"
        "logging.basicConfig(level=logging.INFO)\n"
        f"validation.check_split(pandas.read_pickle({str(tmp_path / 'table')!r}), Path.cwd())\n"
    )
    divided().to_pickle(tmp_path / "table")
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(validation.__file__).parents[3])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (run.stdout, run.stderr) == ("", "")
    assert (tmp_path / "index.html").is_file()
