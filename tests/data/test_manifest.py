from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
import worker_tasks
from PIL import Image

from skin_pipeline.data import images, manifest, sources


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for label in ("benign", "malignant"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for index in range(5):
            pixels = rng.integers(0, 255, (70, 90, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / label / f"{label}{index}.png")
    (tmp_path / "set/benign/benign2.png").write_bytes(b"broken")
    return tmp_path / "set"


def build(folder, store, tmp_path, shard_size=4):
    return manifest.build(
        sources.find(folder),
        store,
        size=32,
        field_of_view=0.8,
        shard_size=shard_size,
        folder=tmp_path,
        processes=1,
    )


def test_shards_hold_the_readable_images_in_the_order_of_the_table(folder, store, tmp_path):
    table, shards, thumbnails = build(folder, store, tmp_path)
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
    seen = images.inspect(folder / last["key"], 32, 0.8)
    assert np.array_equal(np.load(store.local(shards[last["shard"]]))[last["row"]], seen.pixels)


def test_a_quarantined_image_stays_in_the_table_with_its_problem(folder, store, tmp_path, caplog):
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
    folder, store, tmp_path, monkeypatch
):
    (folder / "benign/benign1.png").rename(folder / "benign/fatal1.png")
    monkeypatch.setattr(manifest, "_inspect_batch", worker_tasks.inspect_batch_or_die)
    monkeypatch.setattr(images, "inspect", worker_tasks.inspect_or_die)
    table = build(folder, store, tmp_path).table.set_index("key")
    assert list(table.index[~table["readable"]]) == ["benign/benign2.png", "benign/fatal1.png"]
    assert "ended the process" in table.at["benign/fatal1.png", "problem"]


def test_pixels_are_hashed_where_another_image_may_have_the_same(folder, store, tmp_path):
    with Image.open(folder / "benign/benign0.png") as image:
        image.save(folder / "malignant/again.bmp")
    (folder / "malignant/copy.png").write_bytes((folder / "benign/benign1.png").read_bytes())
    table = build(folder, store, tmp_path).table.set_index("key")
    known = table["pixels_sha256"][table["pixels_sha256"] != ""]
    assert list(known.index) == ["benign/benign0.png", "malignant/again.bmp"]
    assert known.nunique() == 1
    assert table.at["malignant/copy.png", "sha256"] == table.at["benign/benign1.png", "sha256"]


def test_the_same_images_give_the_same_table_and_shards(folder, store, tmp_path):
    first, second = (build(folder, store, tmp_path) for _ in range(2))
    assert first[1:] == second[1:]
    pd.testing.assert_frame_equal(first.table, second.table)


def test_a_table_reads_back_as_written(folder, store, tmp_path):
    table = build(folder, store, tmp_path).table
    table = table.assign(patient_id="007", age="NA", duplicates="", external="", group="1e5")
    read = manifest.read(store, manifest.write(store, "here/manifest.csv", table))
    assert (read["patient_id"] == "007").all()  # no number is made of it
    assert (read["age"] == "NA").all()
    pd.testing.assert_frame_equal(read, table, check_dtype=False)
    key = manifest.put(store, table)
    assert key.startswith("tables/")
    pd.testing.assert_frame_equal(manifest.read(store, key), table, check_dtype=False)


@pytest.mark.parametrize(
    "word", ["NA", "nan", "None", "null", "N/A", "-1", "0", "007", "1.0", "inf"]
)
def test_a_word_that_other_readers_take_for_missing_reads_back_as_itself(store, word):
    written = pd.DataFrame({"key": [word], "patient_id": [word], "label": [word], "site": [""]})
    read = manifest.read(store, manifest.write(store, "table.csv", written))
    assert read.iloc[0].to_list() == [word, word, word, ""]


def test_golden_copies_are_the_files_themselves(folder, store, tmp_path):
    found = sources.find(folder)
    table = build(folder, store, tmp_path).table
    golden = manifest.golden(table, found, store, per_class=2)
    assert sorted(key.split("/")[0] for key in golden) == ["benign"] * 2 + ["malignant"] * 2
    for key, copy in golden.items():
        assert store.read(copy) == (folder / key).read_bytes()
