from __future__ import annotations

import logging
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import pytest
import worker_tasks
from hypothesis import given
from hypothesis import strategies as some
from PIL import Image

from skin_pipeline import parquet, tables
from skin_pipeline.data import images, manifest, sources
from skin_pipeline.data.manifest import Built
from skin_pipeline.data.sources import from_zip
from skin_pipeline.data.sources.contents import Contents
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.geometry import Geometry
from skin_pipeline.storage import FolderStore, digest

GEOMETRY = Geometry(32, 0.8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label in ("benign", "malignant"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for index in range(5):
            pixels = rng.integers(0, 255, (70, 90, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / label / f"{label}{index}.png")
    (tmp_path / "set/benign/benign2.png").write_bytes(b"broken")
    return tmp_path / "set"


def build(
    folder: Path | Contents | sources.Images,
    store: FolderStore,
    tmp_path: Path,
    shard_size: int = 4,
    **options: Any,
) -> Built:
    return manifest.build(
        folder if isinstance(folder, sources.Images) else sources.find(folder),
        store,
        GEOMETRY,
        shard_size=shard_size,
        processes=1,
        **options,
    )


@pytest.fixture
def folder_with_masks(folder: Path) -> Path:
    """A mask by its name, in the middle of the images, and one by its two colours, at their end."""
    Image.open(folder / "benign/benign1.png").save(folder / "benign/benign1_segmentation.png")
    two_greys = Image.new("L", (90, 70))
    two_greys.paste(255, (20, 20, 60, 50))
    two_greys.save(folder / "malignant/zebra.png")
    return folder


def test_masks_are_used_like_other_images_and_named(
    folder_with_masks: Path, store: FolderStore, tmp_path: Path
) -> None:
    built = build(folder_with_masks, store, tmp_path)
    assert built.masks == ("benign/benign1_segmentation.png", "malignant/zebra.png")
    assert len(built.table) == 12
    (notice,) = manifest.mask_notices(built.masks, left_out=False)
    assert str(notice) == (
        "benign/benign1_segmentation.png, malignant/zebra.png (2): looks like a mask or an overlay "
        "of a lesion (by name, or two colours only); used like any other image. Give "
        "masks=leave_out to leave such files out"
    )


def test_masks_that_are_left_out_have_no_row_and_no_place_in_a_shard(
    folder_with_masks: Path, store: FolderStore, tmp_path: Path
) -> None:
    built = build(folder_with_masks, store, tmp_path, with_masks=False)
    assert len(built.masks) == 2
    plain = built.table.reset_index(drop=True)
    for path in (folder_with_masks / key for key in built.masks):
        path.unlink()
    without = build(folder_with_masks, store, tmp_path)
    pd.testing.assert_frame_equal(plain, without.table)
    assert built.shards == without.shards
    # What the tables say of an image is joined by its place among all files.
    assert list(built.table.index) == [0, 1, *range(3, 11)]


def test_many_masks_are_named_by_a_few(folder: Path) -> None:
    (notice,) = manifest.mask_notices([f"{i}_mask.png" for i in range(500)], left_out=True)
    assert notice.count == 500
    assert notice.subject.endswith("9_mask.png, …")
    assert len(notice.subject) < 200
    assert manifest.mask_notices((), left_out=True) == ()


def test_a_set_of_masks_only_is_refused(tmp_path: Path, store: FolderStore) -> None:
    for label in ("benign", "malignant"):
        (tmp_path / "set" / label).mkdir(parents=True)
        Image.effect_noise((90, 90), 60).save(tmp_path / "set" / label / f"{label}_mask.png")
    with pytest.raises(BadInput, match="masks=leave_out leaves no image: all 2 look like masks"):
        build(tmp_path / "set", store, tmp_path, with_masks=False)


def test_shards_hold_the_readable_images_in_the_order_of_the_table(
    folder: Path, store: FolderStore, tmp_path: Path
) -> None:
    table, shards, thumbnails, counts, _ = build(folder, store, tmp_path)
    assert counts == (4, 4, 1)
    assert [np.load(store.local(key)).shape for key in shards] == [
        (4, 32, 32, 3),
        (4, 32, 32, 3),
        (1, 32, 32, 3),
    ]
    assert [np.load(store.local(key)).shape for key in thumbnails] == [
        (4, 64, 64),
        (4, 64, 64),
        (1, 64, 64),
    ]
    readable = table[table["readable"]]
    assert list(zip(readable["shard"], readable["row"], strict=True)) == [
        (i // 4, i % 4) for i in range(9)
    ]
    last = readable.iloc[-1]
    seen = images.inspect(folder / last["key"], GEOMETRY)
    assert seen.pixels is not None
    assert np.array_equal(np.load(store.local(shards[last["shard"]]))[last["row"]], seen.pixels)


def test_a_quarantined_image_stays_in_the_table_with_its_problem(
    folder: Path, store: FolderStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = build(folder, store, tmp_path).table
    (row,) = table[~table["readable"]].to_dict("records")
    assert row["key"] == "benign/benign2.png"
    assert "benign2.png: " in row["problem"]
    assert (row["shard"], row["row"]) == (-1, -1)
    with caplog.at_level(logging.INFO):
        manifest.log_outcomes(table)
    assert 'quarantined image="benign/benign2.png" problem="benign2.png: ' in caplog.text
    assert "ingested images=10" in caplog.text


def test_an_image_that_kills_the_decoder_is_quarantined_and_all_others_are_seen(
    folder: Path, store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "benign/benign1.png").rename(folder / "benign/fatal1.png")
    monkeypatch.setattr(images, "inspect_at", worker_tasks.inspect_or_die)
    table = build(folder, store, tmp_path).table.set_index("key")
    assert list(table.index[~table["readable"]]) == ["benign/benign2.png", "benign/fatal1.png"]
    assert "ended the process" in str(table.at["benign/fatal1.png", "problem"])


def test_an_image_that_kills_the_decoder_when_it_is_read_again_is_told(
    folder: Path, store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Image.open(folder / "benign/benign0.png") as image:
        image.save(folder / "malignant/again.bmp")
    monkeypatch.setattr(images, "pixels_digest", worker_tasks.die)
    with pytest.raises(Unavailable, match=r"benign0\.png was decoded once, and not again"):
        build(folder, store, tmp_path)


def test_pixels_are_hashed_where_another_image_may_have_the_same(
    folder: Path, store: FolderStore, tmp_path: Path
) -> None:
    with Image.open(folder / "benign/benign0.png") as image:
        image.save(folder / "malignant/again.bmp")
    (folder / "malignant/copy.png").write_bytes((folder / "benign/benign1.png").read_bytes())
    table = build(folder, store, tmp_path).table.set_index("key")
    known = table["pixels_sha256"][table["pixels_sha256"] != ""]
    assert list(known.index) == ["benign/benign0.png", "malignant/again.bmp"]
    assert known.nunique() == 1
    digests = table["sha256"]
    assert digests["malignant/copy.png"] == digests["benign/benign1.png"]


def test_the_same_images_give_the_same_table_and_shards(
    folder: Path, store: FolderStore, tmp_path: Path
) -> None:
    first, second = (build(folder, store, tmp_path) for _ in range(2))
    assert first[1:] == second[1:]
    pd.testing.assert_frame_equal(first.table, second.table)


def test_a_table_reads_back_as_written(folder: Path, store: FolderStore, tmp_path: Path) -> None:
    table = build(folder, store, tmp_path).table
    table = table.assign(patient_id="007", age="NA", duplicates="", external="", group="1e5")
    read = manifest.read(store, tables.write(store, "here/manifest.parquet", table))
    assert (read["patient_id"] == "007").all()  # no number is made of it
    assert (read["age"] == "NA").all()
    pd.testing.assert_frame_equal(read, table, check_dtype=False)
    key = tables.put(store, table)
    assert key.startswith("tables/")
    pd.testing.assert_frame_equal(manifest.read(store, key), table, check_dtype=False)


@given(
    some.lists(
        some.tuples(
            some.sampled_from(["007", "NA", "null", "nan", "", "1e5", "True", "=1+1"])
            | some.text(),
            some.none() | some.floats(0, 255).map(lambda figure: round(figure, 2)),
            some.booleans(),
            some.sampled_from(["train", "test", "unused"]),
        ),
        min_size=1,
        max_size=9,
    )
)
def test_parquet_and_the_csv_of_before_read_back_as_one_and_the_same_table(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, float | None, bool, str]]
) -> None:
    store = FolderStore(tmp_path_factory.getbasetemp() / digest(repr(rows).encode()))
    texts, figures, yes, sides = zip(*rows, strict=True)
    numbers = range(len(rows))
    table = pd.DataFrame({
        **{name: texts[number:] + texts[:number] for number, name in enumerate(manifest.TEXTS)},
        **{name: np.array(figures, np.float64) for name in images.STATISTICS},
        **{"readable": yes, "width": numbers, "shard": [number - 1 for number in numbers]},
        "run_0": sides,
    })
    table["lesion_id"] = np.nan  # nothing is known of any image
    table["age"] = np.array(figures, np.float64)  # these are texts, too
    before = manifest.read(store, tables.write(store, "before/manifest.csv", table))
    now = manifest.read(store, tables.write(store, "now/manifest.parquet", table))
    pd.testing.assert_frame_equal(now, before, check_exact=True)
    assert now["patient_id"].tolist() == table["patient_id"].tolist()
    for key in ("before/manifest.csv", "now/manifest.parquet"):
        some_columns = manifest.read(store, key, ["run_0", "key", "width"])
        pd.testing.assert_frame_equal(some_columns, before[["run_0", "key", "width"]])
        readable = manifest.read_readable(store, key, ["key"])
        assert readable["key"].tolist() == before["key"][before["readable"]].tolist()
        assert list(readable.columns) == ["key"]


@pytest.mark.parametrize("name", ["x/manifest.csv", "x/manifest.parquet"])
def test_a_column_that_a_table_lacks_is_named(store: FolderStore, name: str) -> None:
    tables.write(store, name, pd.DataFrame({"key": ["a"], "readable": [True]}))
    with pytest.raises(BadInput, match=f"{name} in the store .* has no column anchor"):
        manifest.read_readable(store, name, ["key", "anchor"])


def test_an_image_is_called_what_its_source_calls_it_wherever_it_was_written(
    folder: Path, store: FolderStore, tmp_path: Path
) -> None:
    keys = [f"{item.label}/Lesion.{i}.PNG" for i, item in enumerate(sources.find(folder).files)]
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as bundle:
        for key, item in zip(keys, sources.find(folder).files, strict=True):
            bundle.write(item.path, f"con/{key}")  # no folder of Windows may be called so
    contents = from_zip.extract(tmp_path / "set.zip", tmp_path / "extracted")
    table = build(contents, store, tmp_path).table
    assert list(table["key"]) == keys
    assert list(table["image_id"]) == [PurePosixPath(key).stem for key in keys]
    assert list(table["problem"][~table["readable"]]) == ["Lesion.2.PNG: is a text and no image"]


def test_a_file_that_goes_away_before_it_is_decoded_is_no_fault_of_the_data(
    folder: Path, store: FolderStore, tmp_path: Path
) -> None:
    found = sources.find(folder)
    (folder / "benign/benign0.png").unlink()
    with pytest.raises(Unavailable, match="cannot be read any more"):
        build(found, store, tmp_path)


@pytest.mark.parametrize(
    "word", ["NA", "nan", "None", "null", "N/A", "-1", "0", "007", "1.0", "inf"]
)
def test_a_word_that_other_readers_take_for_missing_reads_back_as_itself(
    store: FolderStore, word: str
) -> None:
    written = pd.DataFrame({"key": [word], "patient_id": [word], "label": [word], "site": [""]})
    read = manifest.read(store, tables.write(store, "table.csv", written))
    assert read.iloc[0].to_list() == [word, word, word, ""]


def test_golden_copies_are_the_files_themselves(
    folder: Path, store: FolderStore, tmp_path: Path
) -> None:
    found = sources.find(folder)
    table = build(folder, store, tmp_path).table
    golden = manifest.golden(table, found, store, per_class=2)
    assert sorted(key.split("/")[0] for key in golden) == ["benign"] * 2 + ["malignant"] * 2
    for key, copy in golden.items():
        assert store.read(copy) == (folder / key).read_bytes()


def test_readable_rows_are_numbered_as_the_packed_images_are(
    folder: Path, store: FolderStore, tmp_path: Path
) -> None:
    table, shards, *_ = build(folder, store, tmp_path)
    tables.write(store, "here/manifest.parquet", table)
    rows = manifest.read_readable(store, "here/manifest.parquet")
    assert list(rows.index) == list(range(9))
    assert list(rows["key"]) == [key for key in table["key"] if key != "benign/benign2.png"]
    packed = np.concatenate([np.load(store.local(key)) for key in shards])
    for number, (_, row) in enumerate(rows.iterrows()):
        assert (row["shard"] * 4 + row["row"]) == number
        assert (packed[number] == images.inspect(folder / row["key"], GEOMETRY).pixels).all()


def test_scores_are_read_number_for_number_as_they_were_written(store: FolderStore) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({
        "key": ["1", "NA", *[f"k{i}" for i in range(4998)]],
        "label": "benign",
        "group": ["007", "NA", *["null"] * 4998],
        "test": rng.random(5000) < 0.5,
        "probability": np.where(rng.random(5000) < 0.1, np.nan, rng.random(5000) ** 9),
    })
    read = tables.read_scores(store, tables.write(store, "scores.csv", table))
    pd.testing.assert_frame_equal(read, table, check_exact=True, check_dtype=False)


def test_labels_are_1_for_malignant() -> None:
    assert list(manifest.labels(pd.DataFrame({"label": ["malignant", "benign"]}))) == [1, 0]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_table_is_widened_part_by_part(
    store: FolderStore, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "ROWS", 3)
    table = pd.DataFrame({"key": [*"abcdefg"], "patient_id": ["007"] * 7})
    key = tables.write(store, f"validate/1/manifest.{ending}", table)
    sides = pd.DataFrame({"run_0": [*"ttvvuut"], "run_1": [*"uuttvvt"]}, index=range(5, 12))
    made = list(manifest.widened(store, key, sides))
    assert [len(part) for part in made] == ([7] if ending == "csv" else [3, 3, 1])
    whole = pd.concat(made, ignore_index=True)
    pd.testing.assert_frame_equal(whole, pd.concat([table, sides.reset_index(drop=True)], axis=1))
