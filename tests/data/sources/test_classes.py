"""Which class an image has: by its folder, or by a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from image_folders import lay_out, told

from skin_pipeline.data import sources
from skin_pipeline.data.sources import classes
from skin_pipeline.errors import BadInput


@pytest.mark.parametrize(
    ("paths", "keys"),
    [
        (("benign/a.jpg", "malignant/b.jpg"), ["benign/a.jpg", "malignant/b.jpg"]),
        (("Set/benign/a.jpg", "Set/malignant/b.jpg"), ["benign/a.jpg", "malignant/b.jpg"]),
        (("x/y/Benign/a.JPG", "x/y/Malignant/b.png"), ["Benign/a.JPG", "Malignant/b.png"]),
        (
            ("train/benign/a.jpg", "test/benign/a.jpg", "test/malignant/b.jpg"),
            ["test/benign/a.jpg", "test/malignant/b.jpg", "train/benign/a.jpg"],
        ),
        (("benign/deep/er/a.jpg", "malignant/b.jpg"), ["benign/deep/er/a.jpg", "malignant/b.jpg"]),
        (("benign/a.jpg", "malignant/b.jpg", "other/c.jpg"), ["benign/a.jpg", "malignant/b.jpg"]),
        (("benign/a.jpg", "malignant/b.jpg", "benign/.c.jpg"), ["benign/a.jpg", "malignant/b.jpg"]),
    ],
)
def test_class_folders_are_found_anywhere_below(
    tmp_path: Path, paths: tuple[str, ...], keys: list[str]
) -> None:
    assert [item.key for item in sources.find(lay_out(tmp_path, *paths)).files] == keys


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ((), "no images of class benign and malignant"),
        (("benign/a.jpg",), "no images of class malignant"),
        (("malignant/a.jpg", "nevus/a.jpg"), "no images of class benign"),
    ],
)
def test_a_missing_class_is_named_with_what_was_found(
    tmp_path: Path, paths: tuple[str, ...], message: str
) -> None:
    with pytest.raises(BadInput) as error:
        sources.find(lay_out(tmp_path, *paths))
    assert message in str(error.value)
    assert (paths[0].split("/")[0] if paths else "an empty folder") in str(error.value)


def test_folders_beside_the_class_folders_are_left_out_and_told(tmp_path: Path) -> None:
    classes = ["benign/a.jpg", "malignant/b.jpg"]
    beside = ["indeterminate/c.jpg", "indeterminate/deep/d.jpg", "masks/e.png", "f.jpg"]
    sets = [f"{part}/{path}" for part in ("train", "test") for path in (*classes, *beside)]
    found = sources.find(lay_out(tmp_path, *sets, "all_images/g.jpg"))

    assert len(found.files) == 4
    assert told(found) == {
        ("folder_left_out", "indeterminate/"): 4,
        ("folder_left_out", "masks/"): 2,
        ("folder_left_out", "beside the class folders themselves"): 2,
        ("folder_left_out", "all_images/"): 1,
    }
    assert all("move them into a class folder" in notice.reason for notice in found.notices)


def test_images_that_links_put_into_class_folders_are_not_told_as_left_out(tmp_path: Path) -> None:
    lay_out(tmp_path, "all/a.jpg", "all/b.jpg", "all/c.jpg")
    for label, name in (("benign", "a"), ("malignant", "b")):
        (tmp_path / label).mkdir()
        (tmp_path / label / f"{name}.jpg").symlink_to(f"../all/{name}.jpg")
    found = sources.find(tmp_path)
    assert [item.key for item in found.files] == ["benign/a.jpg", "malignant/b.jpg"]
    assert told(found) == {("folder_left_out", "all/"): 1}


def test_images_without_folders_get_no_advice_about_folders(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as error:
        sources.find(lay_out(tmp_path, "a.jpg", "b.jpg"))
    assert "a table beside the images that has their labels" in str(error.value)
    assert "Received images in: the folder itself (2)" in str(error.value)
    assert "named after classes" not in str(error.value)


def test_many_folders_beside_give_few_notices(tmp_path: Path) -> None:
    names = [f"class_{number}/a.jpg" for number in range(40)]
    found = sources.find(lay_out(tmp_path, "benign/a.jpg", "malignant/b.jpg", *names))

    assert len(found.notices) == classes.FOLDERS_SHOWN + 1
    assert sum(notice.count for notice in found.notices) == 40
    assert found.notices[-1].subject == "28 further folders"


def test_a_set_that_is_called_like_a_class_is_no_class_folder(tmp_path: Path) -> None:
    found = sources.find(lay_out(tmp_path, "Malignant/benign/a.jpg", "Malignant/malignant/b.jpg"))
    assert [(item.key, item.label) for item in found.files] == [
        ("benign/a.jpg", "benign"),
        ("malignant/b.jpg", "malignant"),
    ]


def test_a_class_folder_within_one_of_the_other_class_is_asked_about(tmp_path: Path) -> None:
    paths = ("benign/a.jpg", "malignant/b.jpg", "benign/second look/malignant/c.jpg")
    with pytest.raises(BadInput, match=r"both classes at once, .*second look.*Rename"):
        sources.find(lay_out(tmp_path, *paths))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("benign_images", "malignant_images"),
        ("0", "1"),
        ("nevus", "melanoma"),
        ("gutartig", "bösartig"),
        ("benign", "malignant_images"),
    ],
)
def test_folders_of_other_names_are_asked_about_with_the_settings(
    tmp_path: Path, one: str, other: str
) -> None:
    with pytest.raises(BadInput) as error:
        sources.find(lay_out(tmp_path, f"{one}/a.jpg", f"{other}/b.jpg", f"{other}/c.jpg"))
    assert f"{other}/ (2), {one}/ (1)" in str(error.value)
    assert "`malignant_values` and `benign_values`" in str(error.value)


def test_folders_of_other_names_are_asked_about_where_tables_do_not_help(tmp_path: Path) -> None:
    lay_out(tmp_path, "nevus/a.jpg", "melanoma/b.jpg")
    (tmp_path / "labels.csv").touch()

    def labels_of(tables: Sequence[Path], keys: Sequence[str]) -> list[str]:
        raise BadInput("no column is known to have the label")

    with pytest.raises(BadInput, match=r"no column is known.*melanoma/ \(1\), nevus/ \(1\)"):
        sources.find(tmp_path, labels_of)


MEANINGS = {"melanoma": "malignant", "nevus": "benign", "unknown": ""}


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (
            ("Nevus/a.jpg", "x/MELANOMA /b.jpg", "unknown/c.jpg", "bkl/d.jpg"),
            {"Nevus/a.jpg": "benign", "x/MELANOMA /b.jpg": "malignant"},
        ),
        # What is called benign or malignant says it better.
        (
            ("benign/a.jpg", "malignant/nevus/b.jpg", "melanoma/c.jpg"),
            {"benign/a.jpg": "benign", "malignant/nevus/b.jpg": "malignant"},
        ),
    ],
)
def test_folders_count_by_what_the_settings_say_that_names_mean(
    tmp_path: Path, paths: tuple[str, ...], expected: list[str] | dict[str, str]
) -> None:
    found = sources.find(lay_out(tmp_path, *paths), meanings=MEANINGS)
    assert {item.key: item.label for item in found.files} == expected
    left_out = {notice.subject for notice in found.notices}
    assert left_out == {f"{path.split('/')[0]}/" for path in paths if path not in expected}


def test_a_link_as_a_class_folder_gives_its_images_their_class(tmp_path: Path) -> None:
    lay_out(tmp_path, "elsewhere/a.jpg", "set/pool/b.jpg", "set/pool/c.jpg")
    (tmp_path / "set/benign").symlink_to("../elsewhere")
    (tmp_path / "set/malignant").symlink_to("pool")
    found = sources.find(tmp_path / "set")
    assert [(item.key, item.label) for item in found.files] == [
        ("benign/a.jpg", "benign"),
        ("malignant/b.jpg", "malignant"),
        ("malignant/c.jpg", "malignant"),
    ]


def test_each_real_file_counts_once_for_each_class_and_the_others_are_told(tmp_path: Path) -> None:
    lay_out(tmp_path, "benign/a.jpg", "malignant/b.jpg")
    (tmp_path / "benign/also.jpg").symlink_to("a.jpg")
    (tmp_path / "benign/again").symlink_to(".")
    (tmp_path / "train").mkdir()
    (tmp_path / "train/benign").symlink_to("../benign")
    (tmp_path / "malignant/a.jpg").symlink_to("../benign/a.jpg")  # validation finds this
    found = sources.find(tmp_path)
    keys = [(item.key, item.label) for item in found.files]
    assert keys == [
        ("benign/a.jpg", "benign"),
        ("malignant/a.jpg", "malignant"),
        ("malignant/b.jpg", "malignant"),
    ]
    assert {notice.kind for notice in found.notices} == {"link_skipped"}
    assert sum(notice.count for notice in found.notices) == 3


def by_name(tables: Sequence[Path], keys: Sequence[str]) -> list[str]:
    """Labels as a table would give them: by the first letter, none for the others."""
    assert [path.name for path in tables] == ["labels.csv"]
    names = {"b": "benign", "m": "malignant"}
    return [names.get(key.rpartition("/")[2][0], "") for key in keys]


def test_without_class_folders_the_tables_have_the_labels(tmp_path: Path) -> None:
    lay_out(tmp_path, "set/x/b1.jpg", "set/y/m1.jpg", "set/y/other.jpg", "set/y/.m2.jpg")
    (tmp_path / "labels.csv").touch()
    found = sources.find(tmp_path, by_name).files
    assert [(item.key, item.label) for item in found] == [
        ("x/b1.jpg", "benign"),
        ("y/m1.jpg", "malignant"),
    ]


def test_class_folders_go_before_tables(tmp_path: Path) -> None:
    lay_out(tmp_path, "benign/m1.jpg", "malignant/b1.jpg", "m2.jpg")
    (tmp_path / "labels.csv").touch()
    found = sources.find(tmp_path, by_name).files
    assert [(item.key, item.label) for item in found] == [
        ("benign/m1.jpg", "benign"),
        ("malignant/b1.jpg", "malignant"),
    ]


@pytest.mark.parametrize("names", [("b1.jpg",), ("x1.jpg", "x2.jpg")])
def test_a_class_that_no_table_names_is_told(tmp_path: Path, names: tuple[str, ...]) -> None:
    lay_out(tmp_path, *names)
    (tmp_path / "labels.csv").touch()
    with pytest.raises(BadInput, match=r"no images of class .*malignant"):
        sources.find(tmp_path, by_name)
