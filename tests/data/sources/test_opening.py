"""From a source to its files: folders, zip files, the demo, and lists of files to be scored."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_folders import image, lay_out, told

from skin_pipeline.data import ingesting, kinds, manifest, sources
from skin_pipeline.data.sources import from_folder, from_zip
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job


def test_a_folder_and_its_zip_have_the_same_content(
    tmp_path: Path, make_job: Callable[..., Job]
) -> None:
    lay_out(tmp_path / "set", "benign/a.jpg", "malignant/b.jpg")
    packed = shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path, "set")
    digests = set()
    for data in (str(tmp_path / "set"), packed):
        with sources.folder_of(make_job(data=data, weights="imagenet")) as root:
            digests.add(sources.find(root).digest)
    assert len(digests) == 1


def test_nothing_at_the_path_says_what_can_be_given(make_job: Callable[..., Job]) -> None:
    job = make_job(data="/no/such/place", weights="imagenet")
    with pytest.raises(BadInput, match=r"there is nothing at /no/such/place.*kaggle://OWNER/NAME"):
        sources.folder_of(job).__enter__()


def test_a_path_that_no_system_takes_is_bad_input(make_job: Callable[..., Job]) -> None:
    for data in ("x" * 300, "a" * 5000, "nul\0byte"):
        with pytest.raises(BadInput, match=r"cannot be reached|there is nothing at"):
            sources.folder_of(make_job(data=data, weights="imagenet")).__enter__()


def test_a_temporary_folder_is_gone_afterwards(make_job: Callable[..., Job]) -> None:
    with sources.folder_of(make_job()) as contents:
        paths = [item.path for item in contents.images]
        assert paths
        assert all(path.is_file() for path in paths)
    assert not paths[0].parents[1].exists()


def test_images_and_other_files_are_known_by_content_and_told_by_kind(tmp_path: Path) -> None:
    lay_out(tmp_path, "benign/a.jpg", "malignant/b.jpg")
    (tmp_path / "benign/a.jpg").rename(tmp_path / "benign/a.JFIF")
    (tmp_path / "malignant/b.jpg").rename(tmp_path / "malignant/b")
    for name in ("c.heic", "d.HEIC"):
        (tmp_path / "benign" / name).write_bytes(b"\0\0\0\x18ftypheic")
    for name in ("imgs_part_1.zip", "imgs_part_2.zip"):
        (tmp_path / name).write_bytes(b"PK\x03\x04" + bytes(30))
    found = sources.find(tmp_path)

    assert [item.key for item in found.files] == ["benign/a.JFIF", "malignant/b"]
    assert told(found) == {("files_skipped", ".heic"): 2, ("files_skipped", ".zip"): 2}
    (archives, phones) = sorted(found.notices, key=lambda notice: notice.subject, reverse=True)
    assert "unpack them" in archives.reason
    assert "imgs_part_1.zip" in archives.reason
    assert "save them as PNG or JPEG" in phones.reason


def test_where_there_is_nothing_to_read_what_was_found_is_told(tmp_path: Path) -> None:
    (tmp_path / "imgs_part_1.zip").write_bytes(b"PK\x03\x04" + bytes(30))
    with pytest.raises(BadInput, match=r"not used: \.zip: archives within .* unpack them"):
        sources.find(tmp_path)


def test_a_folder_a_zip_and_a_copy_with_windows_separators_are_the_same_data(
    tmp_path: Path, make_job: Callable[..., Job]
) -> None:
    lay_out(tmp_path / "set", "benign/a.jpg", "malignant/b.jpg", "other/c.jpg", ".git/d.jpg")
    (tmp_path / "set/table.CSV").write_text("image,patient_id\na,1\n")
    (tmp_path / "set/malignant/caf\u00e9").write_bytes((tmp_path / "set/other/c.jpg").read_bytes())
    packed = shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path, "set")
    with zipfile.ZipFile(packed) as source, zipfile.ZipFile(tmp_path / "w.zip", "w") as windows:
        for name in source.namelist():
            if not name.endswith("/"):
                windows.writestr(name.replace("/", "\\"), source.read(name))
    seen = []
    for data in (str(tmp_path / "set"), packed, str(tmp_path / "w.zip")):
        with sources.folder_of(make_job(data=data, weights="imagenet")) as contents:
            found = sources.find(contents)
            labels = [(item.key, item.label) for item in found.files]
            seen.append((found.digest, labels, found.notices))
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0][1]) == 3


JPEG, BMP = b"\xff\xd8\xff\xe0", b"BM" + bytes(12) + b"\x28\0\0\0"


TEXT, WORKBOOK, ZIP = b"a,b\n1,2\n", b"PK\x03\x04\x14\0\6\0", b"PK\x03\x04\x14\0\0\0"


# Public archives as they are laid out: their files, the images and tables that are found in them,
# and what is told. Classes come from folders or, where there are none, from the first letters.
LAYOUTS = {
    "HAM10000 of Kaggle": (
        {
            "HAM10000_images_part_1/bISIC_0024306.jpg": JPEG,
            "ham10000_images_part_1/mISIC_0024307.jpg": JPEG,
            "HAM10000_metadata.csv": TEXT,
            "hmnist_28_28_RGB.csv": TEXT,
        },
        (["HAM10000_images_part_1/bISIC_0024306.jpg", "ham10000_images_part_1/mISIC_0024307.jpg"]),
        ["HAM10000_metadata.csv", "hmnist_28_28_RGB.csv"],
        {},
    ),
    "HAM10000 of Dataverse": (
        {"bISIC_1.jpg": JPEG, "mISIC_2.jpg": JPEG, "HAM10000_metadata": TEXT},
        ["bISIC_1.jpg", "mISIC_2.jpg"],
        ["HAM10000_metadata"],
        {},
    ),
    "ISIC challenge": (
        {
            "ISIC-2017_Training_Data/bISIC_0000000.jpg": JPEG,
            "ISIC-2017_Training_Data/mISIC_0000001.JPG": JPEG,
            "ISIC-2017_Training_Data/ATTRIBUTION.txt": TEXT,
            "ISIC-2017_Training_Data/LICENSE.txt": TEXT,
            "ISIC-2017_Training_Part3_GroundTruth.csv": TEXT,
        },
        ["bISIC_0000000.jpg", "mISIC_0000001.JPG"],
        ["ISIC-2017_Training_Part3_GroundTruth.csv"],
        {".txt": 2},
    ),
    "PH2": (
        {
            "PH2Dataset/PH2 Dataset images/IMD002/IMD002_Dermoscopic_Image/bIMD002.bmp": BMP,
            "PH2Dataset/PH2 Dataset images/IMD003/IMD003_Dermoscopic_Image/mIMD003.bmp": BMP,
            "PH2Dataset/PH2_dataset.xlsx": WORKBOOK,
            "PH2Dataset/PH2_dataset.txt": TEXT,
            "PH2Dataset/PH2_readme.pdf": b"%PDF-1.4",
        },
        [
            "IMD002/IMD002_Dermoscopic_Image/bIMD002.bmp",
            "IMD003/IMD003_Dermoscopic_Image/mIMD003.bmp",
        ],
        ["PH2_dataset.txt", "PH2_dataset.xlsx"],
        {".pdf": 1},
    ),
    "melanoma_cancer_dataset": (
        {
            "melanoma_cancer_dataset/train/benign/melanoma_0.jpg": JPEG,
            "melanoma_cancer_dataset/train/malignant/melanoma_1.jpg": JPEG,
            "melanoma_cancer_dataset/test/benign/melanoma_2.jpg": JPEG,
        },
        [
            "test/benign/melanoma_2.jpg",
            "train/benign/melanoma_0.jpg",
            "train/malignant/melanoma_1.jpg",
        ],
        [],
        {},
    ),
    "malignant vs benign, with its own copy": (
        {
            f"{place}train/{label}/{name}.jpg": JPEG
            for place in ("", "data/")
            for label, name in (("benign", 3), ("malignant", 4))
        },
        [
            *("data/train/benign/3.jpg", "data/train/malignant/4.jpg"),
            *("train/benign/3.jpg", "train/malignant/4.jpg"),
        ],
        [],
        {},
    ),
    "with what a notebook and macOS leave": (
        {
            "benign/a.jpg": JPEG,
            "malignant/b.jpg": JPEG,
            "benign/.ipynb_checkpoints/a-checkpoint.jpg": JPEG,
            "__MACOSX/benign/._a.jpg": b"\0\5\x16\7",
            ".DS_Store": b"\0\0\0\1Bud1",
            "malignant/IMG_1.HEIC": b"\0\0\0\x18ftypheic",
            "malignant/slice.dcm": bytes(128) + b"DICM",
            "train.hdf5": b"\x89HDF\r\n\x1a\n",
        },
        ["benign/a.jpg", "malignant/b.jpg"],
        [],
        {
            "hidden folder .ipynb_checkpoints, hidden folder __MACOSX": 2,
            "system files": 1,
            ".heic": 1,
            ".dcm": 1,
            ".hdf5": 1,
        },
    ),
}


def by_letter(_: Sequence[Path], keys: Sequence[str]) -> list[str]:
    return [{"b": "benign", "m": "malignant"}[key.rpartition("/")[2][0]] for key in keys]


def laid_out(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def zipped(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as bundle:
        for name, data in files.items():
            bundle.writestr(name, data)
    return path


@pytest.mark.parametrize("case", LAYOUTS)
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_public_archives_are_read_as_they_are(
    case: str, packed: bool, tmp_path: Path, make_job: Callable[..., Job]
) -> None:
    files, keys, tables, notices = LAYOUTS[case]
    data = zipped(tmp_path / "set.zip", files) if packed else laid_out(tmp_path / "set", files)
    with sources.folder_of(make_job(data=str(data), weights="imagenet")) as contents:
        found = sources.find(contents, by_letter)
    assert [item.key for item in found.files] == keys
    assert [path.name for path in found.tables] == tables
    assert {notice.subject: notice.count for notice in found.notices} == notices


def test_archives_within_the_archive_are_told_where_there_is_nothing_else(
    tmp_path: Path, make_job: Callable[..., Job]
) -> None:
    pad_ufes = {f"images/imgs_part_{part}.zip": ZIP for part in (1, 2, 3)} | {"metadata.csv": TEXT}
    data = zipped(tmp_path / "set.zip", pad_ufes)
    with (
        sources.folder_of(make_job(data=str(data), weights="imagenet")) as contents,
        pytest.raises(BadInput, match=r"\.zip \(3\): archives within .*unpack them.*imgs_part_1"),
    ):
        sources.find(contents, by_letter)


PARTS = st.sampled_from([
    *(
        "benign",
        "malignant",
        "Benign",
        "other",
        ".git",
        "__MACOSX",
        "caf\u00e9",
        "a b",
        "con",
        "x" * 99,
    ),
    *("a.jpg", "A.jpg", "b.JFIF", "t.csv", "meta", "c.heic", "d.dcm", "e.py", "z.zip", "Thumbs.db"),
])


TREES = st.dictionaries(
    st.lists(PARTS, min_size=1, max_size=4).map("/".join),
    st.sampled_from([JPEG, BMP, TEXT, ZIP, b"", b"\0\1"]),
    min_size=1,
    max_size=12,
).filter(lambda tree: not any(f"{one}/" in f"{other}" for one in tree for other in tree))


@settings(max_examples=60, deadline=None)
@given(files=TREES)
def test_a_folder_and_a_zip_of_the_same_files_are_the_same_data(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = laid_out(Path(place, "set"), files)
        packed = from_zip.extract(zipped(Path(place, "set.zip"), files), Path(place, "t"))
        plain = from_folder.contents_of(root)
        for one, other in ((plain.images, packed.images), (plain.tables, packed.tables)):
            assert {i.name: i.path.read_bytes() for i in one} == {
                i.name: i.path.read_bytes() for i in other
            }
        assert plain.notices == packed.notices
        used = len(plain.images) + len(plain.tables)
        marks = [
            name
            for name, data in files.items()
            if not data and kinds.by_name(tuple(name.split("/")), 0) == kinds.MARK
        ]
        assert used + sum(notice.count for notice in plain.notices) + len(marks) == len(files)


def test_numbered_folders_are_no_classes_unless_somebody_said_so(
    make_job: Callable[..., Job], tmp_path: Path
) -> None:
    lay_out(tmp_path / "set", *(f"{part}/{name}.jpg" for part in "01" for name in "ab"))
    data = {"data": str(tmp_path / "set"), "weights": "imagenet"}
    with pytest.raises(BadInput, match="malignant_values"):
        ingesting.data_set(make_job(**data), 3, data["data"], make_job(**data).settings)
    job = make_job(**data, malignant_values="1", benign_values="0")
    key = ingesting.data_set(job, 3, job.settings.data, job.settings)
    table = manifest.read(job.store, f"{key}/manifest.parquet")
    assert dict(zip(table["key"], table["label"], strict=True)) == {
        **{f"0/{name}.jpg": "benign" for name in "ab"},
        **{f"1/{name}.jpg": "malignant" for name in "ab"},
    }


def test_what_is_new_beside_known_images_is_told_though_nothing_is_made_again(
    make_job: Callable[..., Job], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = lay_out(tmp_path / "set", "benign/a.jpg", "malignant/b.jpg", "other/c.jpg")
    job = make_job(data=str(root), weights="imagenet")
    first = ingesting.data_set(job, 3, job.settings.data, job.settings)
    caplog.clear()
    (root / "malignant/d.heic").write_bytes(b"\0\0\0\x18ftypheic")
    assert ingesting.data_set(job, 3, job.settings.data, job.settings) == first
    news = [record.getMessage() for record in caplog.records if "beside" in record.getMessage()]
    assert len(news) == 1
    assert news[0].startswith('beside_the_images what=".heic: HEIC files are not read')


def test_a_name_that_is_no_text_becomes_one_everywhere(
    make_job: Callable[..., Job], tmp_path: Path
) -> None:
    root = tmp_path / "set"
    lay_out(root, "benign/a.jpg", "malignant/b.jpg")
    (root / "benign/a.jpg").rename(root / "benign" / os.fsdecode(b"caf\xe9\n.jpg"))
    (root / "malignant/b.jpg").write_bytes(b"damaged")
    (root / "malignant/b.jpg").rename(root / "malignant" / os.fsdecode(b"\xff.jpg"))

    job = make_job(data=str(root), weights="imagenet")
    key = ingesting.data_set(job, 3, job.settings.data, job.settings)

    table = manifest.read(job.store, f"{key}/manifest.parquet")
    assert list(table["key"]) == ["benign/caf\u00e9%0A.jpg", "malignant/\u00ff.jpg"]
    assert list(table["image_id"]) == ["caf\u00e9%0A", "\u00ff"]
    assert table["problem"][1].startswith("\u00ff.jpg: is a text")


def test_a_name_that_no_system_takes_ends_no_list(
    make_job: Callable[..., Job], tmp_path: Path
) -> None:
    image(tmp_path / "a.jpg")
    (tmp_path / "list").write_text(f"{'x' * 5000}\n{tmp_path}/a.jpg\n")
    with sources.files_at(make_job(), [f"@{tmp_path}/list"]) as files:
        assert [item.name for item in files] == ["x" * 5000, f"{tmp_path}/a.jpg"]


def test_a_zip_is_scored_under_any_name(make_job: Callable[..., Job], tmp_path: Path) -> None:
    image(tmp_path / "a.jpg")
    with zipfile.ZipFile(tmp_path / "export", "w") as bundle:
        bundle.write(tmp_path / "a.jpg", "x/a.jpg")
    with sources.files_at(make_job(), [str(tmp_path / "export")]) as files:
        assert [item.name for item in files] == [f"{tmp_path}/export/x/a.jpg"]


def test_images_are_scored_by_content_and_what_is_not_is_told(
    make_job: Callable[..., Job], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / "photo")
    (tmp_path / "b.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "again").symlink_to("photo")
    with sources.files_at(make_job(), [f"{tmp_path}/"]) as files:
        assert [item.name for item in files] == [f"{tmp_path}/photo"]
    assert 'what=".heic: HEIC files are not read' in caplog.text
    assert "each file is used once" in caplog.text


def test_where_no_image_is_scored_what_was_found_is_told(
    make_job: Callable[..., Job], tmp_path: Path
) -> None:
    (tmp_path / "b.heic").write_bytes(b"\0\0\0\x18ftypheic")
    with (
        pytest.raises(BadInput, match=r"no images .*not used: \.heic: HEIC files are not read"),
        sources.files_at(make_job(), [str(tmp_path)]),
    ):
        pass


def test_files_come_in_the_order_of_the_places_that_name_them(
    make_job: Callable[..., Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("demo/b.png", "demo/a/c.JPG", "demo/notes.txt", "demo/.hidden.png", "z.dcm"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("list").write_text("z.dcm\n\nmissing.png\ndemo\n")
    below = ["demo/a/c.JPG", "demo/b.png"]  # a folder of this name is not the generator
    with sources.files_at(make_job(), ["z.dcm", "demo/", "@list"]) as files:
        assert [item.name for item in files] == ["z.dcm", *below, "z.dcm", "missing.png", *below]
        assert [item.path for item in files] == [Path(item.name) for item in files]
