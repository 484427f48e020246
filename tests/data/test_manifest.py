from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from skin_pipeline.data import manifest, sources
from skin_pipeline.errors import BadInput


def rows(*links):
    """A table with patient, lesion and pixels of each row."""
    table = pd.DataFrame(list(links), columns=["patient_id", "lesion_id", "pixels_sha256"])
    return table.assign(key=[f"benign/{i}.jpg" for i in range(len(table))])


@pytest.mark.parametrize(
    ("links", "together"),
    [
        ([("P1", "", "a"), ("P1", "", "b")], True),
        ([("", "L1", "a"), ("", "L1", "b")], True),
        ([("", "", "a"), ("", "", "a")], True),
        ([("P1", "", "a"), ("P2", "", "a")], True),
        ([("P1", "L1", "a"), ("P2", "L1", "b")], True),
        ([("P1", "L1", "a"), ("P2", "L2", "b")], False),
        ([("", "", ""), ("", "", "")], False),
        ([("x", "", "a"), ("", "x", "b")], False),
    ],
)
def test_images_with_a_patient_a_lesion_or_pixels_in_common_are_one_group(links, together):
    groups = manifest.groups(rows(*links))
    assert (groups.nunique() == 1) is together


def test_a_chain_of_links_is_one_group():
    links = (("P1", "", "a"), ("P2", "", "a"), ("P2", "L", "b"), ("", "L", "c"))
    assert manifest.groups(rows(*links)).nunique() == 1


def test_a_group_is_named_after_its_patient():
    assert list(manifest.groups(rows(("P1", "L1", "a"), ("", "L1", "b")))) == ["patient_id:P1"] * 2


LINK = st.sampled_from(["", "1", "2", "3"])


@given(st.lists(st.tuples(LINK, LINK, LINK), min_size=1, max_size=12), st.randoms())
def test_groups_do_not_depend_on_the_order_of_rows(links, random):
    table = rows(*links)
    order = list(table.index)
    random.shuffle(order)
    shuffled = manifest.groups(table.loc[order])
    pd.testing.assert_series_equal(manifest.groups(table), shuffled.sort_index())


@given(st.lists(st.tuples(LINK, LINK, LINK), min_size=1, max_size=12))
def test_rows_that_share_a_link_share_their_group(links):
    table = rows(*links)
    group = manifest.groups(table)
    for column in ("patient_id", "lesion_id", "pixels_sha256"):
        for _, members in table[table[column] != ""].groupby(column):
            assert group[members.index].nunique() == 1


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for label in ("benign", "malignant"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for index in range(5):
            pixels = rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)
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
    )


def test_shards_hold_the_readable_images_in_the_order_of_the_table(folder, store, tmp_path):
    table, shards = build(folder, store, tmp_path)
    assert [np.load(store.local(key)).shape[0] for key in shards] == [4, 4, 1]
    readable = table[table["readable"]]
    assert list(zip(readable["shard"], readable["row"], strict=True)) == [
        (i // 4, i % 4) for i in range(9)
    ]


def test_an_unreadable_image_stays_in_the_table_with_its_problem(folder, store, tmp_path):
    table, _ = build(folder, store, tmp_path)
    (row,) = table[~table["readable"]].to_dict("records")
    assert row["key"] == "benign/benign2.png"
    assert "benign2.png: " in row["problem"]
    assert (row["shard"], row["row"]) == (-1, -1)


def test_a_table_reads_back_as_written(folder, store, tmp_path):
    (folder / "info.csv").write_text(
        "image_name,patient_id,age_approx\nbenign0,007,NA\n"
        + "".join(f"{label}{i},P{i},50\n" for label in ("benign", "malignant") for i in range(1, 5))
    )
    table, _ = build(folder, store, tmp_path)
    read = manifest.read(store, manifest.write(store, "here/manifest.csv", table))
    assert read["patient_id"][0] == "007"  # no number is made of it
    assert read["age"][0] == "NA"
    pd.testing.assert_frame_equal(read, table, check_dtype=False)


@pytest.mark.parametrize(
    "text",
    [
        "image_name,patient_id\nROWS",
        "\ufeffimage_name,patient_id\r\nROWS",
        "Image_ID,Patient_ID\nROWS",
        "isic_id,patient_id,target\nROWS",
        "filename,patient_id\nNAMED",
        "unknown,image,patient_id\nSHIFTED",
    ],
)
def test_metadata_is_found_under_the_usual_names(tmp_path, text):
    ids = pd.Series(["a", "b"])
    path = tmp_path / "info.csv"
    rows = {
        "ROWS": "a,P1\nb,P2\nz,P3\n",
        "NAMED": "dir/a.jpg,P1\nb.JPG,P2\n",
        "SHIFTED": "x,a,P1\ny,b,P2\n",
    }
    for name, lines in rows.items():
        text = text.replace(name, lines)
    path.write_text(text)
    found = manifest.metadata((path,), ids)
    assert list(found["patient_id"]) == ["P1", "P2"]
    assert list(found["lesion_id"]) == ["", ""]


def test_a_table_about_other_images_is_passed_over(tmp_path):
    path = tmp_path / "info.csv"
    path.write_text("image_name,patient_id\nx,P1\n")
    assert (manifest.metadata((path,), pd.Series(["a", "b"])) == "").all(axis=None)


def test_a_broken_table_is_named(tmp_path):
    path = tmp_path / "info.csv"
    path.write_text('image_name,patient_id\na,"P1\nb,c,d,e,f\n')
    with pytest.raises(BadInput, match=r"info.csv is not a readable CSV table"):
        manifest.metadata((path,), pd.Series(["a"]))


def test_golden_copies_are_the_files_themselves(folder, store, tmp_path):
    images = sources.find(folder)
    table, _ = build(folder, store, tmp_path)
    golden = manifest.golden(table, images, store, per_class=2)
    assert sorted(key.split("/")[0] for key in golden) == ["benign"] * 2 + ["malignant"] * 2
    for key, copy in golden.items():
        assert store.read(copy) == (folder / key).read_bytes()
