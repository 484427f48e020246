from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from skin_pipeline.data import sources
from skin_pipeline.errors import BadInput


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)


def lay_out(root, *paths):
    for path in paths:
        image(root / path)
    return root


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
def test_class_folders_are_found_anywhere_below(tmp_path, paths, keys):
    assert [item.key for item in sources.find(lay_out(tmp_path, *paths)).files] == keys


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ((), "no images of class benign and malignant"),
        (("benign/a.jpg",), "no images of class malignant"),
        (("malignant/a.jpg", "nevus/a.jpg"), "no images of class benign"),
    ],
)
def test_a_missing_class_is_named_with_what_was_found(tmp_path, paths, message):
    with pytest.raises(BadInput) as error:
        sources.find(lay_out(tmp_path, *paths))
    assert message in str(error.value)
    assert (paths[0].split("/")[0] if paths else "an empty folder") in str(error.value)


def test_the_digest_is_of_the_content_wherever_it_lies(tmp_path):
    lay_out(tmp_path / "one", "benign/a.jpg", "malignant/b.jpg")
    shutil.copytree(tmp_path / "one", tmp_path / "two" / "inner")
    digest = sources.find(tmp_path / "one").digest
    assert sources.find(tmp_path / "two").digest == digest
    (tmp_path / "two/inner/benign/a.jpg").write_bytes(b"changed")
    assert sources.find(tmp_path / "two").digest != digest


def test_a_table_beside_the_images_is_part_of_the_content(tmp_path):
    lay_out(tmp_path, "benign/a.jpg", "malignant/b.jpg")
    before = sources.find(tmp_path).digest
    (tmp_path / "patients.csv").write_text("image_name,patient_id\na,P1\n")
    assert sources.find(tmp_path).digest != before


def test_a_folder_and_its_zip_have_the_same_content(tmp_path, make_job):
    lay_out(tmp_path / "set", "benign/a.jpg", "malignant/b.jpg")
    packed = shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path, "set")
    digests = set()
    for data in (str(tmp_path / "set"), packed):
        with sources.folder_of(make_job(data=data, weights="imagenet")) as root:
            digests.add(sources.find(root).digest)
    assert len(digests) == 1


def test_nothing_at_the_path_says_what_can_be_given(make_job):
    job = make_job(data="/no/such/place", weights="imagenet")
    with pytest.raises(BadInput, match=r"nothing stands at /no/such/place.*kaggle://OWNER/NAME"):
        sources.folder_of(job).__enter__()


def test_a_temporary_folder_is_gone_afterwards(make_job):
    with sources.folder_of(make_job()) as root:
        assert root.is_dir()
    assert not root.exists()


# --- without class folders -----------------------------------------------------------------------


def by_name(tables, keys):
    """Labels as a table would give them: by the first letter, none for the others."""
    assert [path.name for path in tables] == ["labels.csv"]
    names = {"b": "benign", "m": "malignant"}
    return [names.get(key.rpartition("/")[2][0], "") for key in keys]


def test_without_class_folders_the_tables_have_the_labels(tmp_path):
    lay_out(tmp_path, "set/x/b1.jpg", "set/y/m1.jpg", "set/y/other.jpg", "set/y/.m2.jpg")
    (tmp_path / "labels.csv").touch()
    found = sources.find(tmp_path, by_name).files
    assert [(item.key, item.label) for item in found] == [
        ("x/b1.jpg", "benign"),
        ("y/m1.jpg", "malignant"),
    ]


def test_class_folders_go_before_tables(tmp_path):
    lay_out(tmp_path, "benign/m1.jpg", "malignant/b1.jpg", "m2.jpg")
    (tmp_path / "labels.csv").touch()
    found = sources.find(tmp_path, by_name).files
    assert [(item.key, item.label) for item in found] == [
        ("benign/m1.jpg", "benign"),
        ("malignant/b1.jpg", "malignant"),
    ]


@pytest.mark.parametrize("names", [("b1.jpg",), ("x1.jpg", "x2.jpg")])
def test_a_class_that_no_table_names_is_told(tmp_path, names):
    lay_out(tmp_path, *names)
    (tmp_path / "labels.csv").touch()
    with pytest.raises(BadInput, match=r"no images of class .*malignant"):
        sources.find(tmp_path, by_name)


def test_files_come_in_the_order_of_the_places_that_name_them(make_job, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("demo/b.png", "demo/a/c.JPG", "demo/notes.txt", "demo/.hidden.png", "z.dcm"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("list").write_text("z.dcm\n\nmissing.png\ndemo\n")
    below = ["demo/a/c.JPG", "demo/b.png"]  # a folder of this name is not the generator
    with sources.files_at(make_job(), ["z.dcm", "demo/", "@list"]) as files:
        assert [item.name for item in files] == ["z.dcm", *below, "z.dcm", "missing.png", *below]
        assert [item.path for item in files] == [Path(item.name) for item in files]
