"""Decoded ranges that are united; tests/data/test_ingesting.py shows it of real images."""

from __future__ import annotations

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from skin_pipeline.data.manifest import Built
from skin_pipeline.data.ranges import NUMBER, numbered, united

COLUMNS = ["sha256", "fingerprint", "width", "height", "pixels_sha256", "readable", "shard", "row"]


def piece(files: list[tuple[str, str, bool]]) -> Built:
    """A range of files of given digest and pixels, readable or not; "" as pixels: left out."""
    rows, shard = {}, 2
    packed = 0
    for number, (sha256, pixels, readable) in enumerate(files):
        if not pixels:
            continue
        place = (packed // shard, packed % shard) if readable else (-1, -1)
        packed += readable
        digest = f"of {pixels}" if readable else ""
        rows[number] = (sha256, pixels, 9, 9, digest, readable, *place)
    table = (
        pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS) if rows else pd.DataFrame()
    )
    counts = tuple(min(shard, packed - first) for first in range(0, packed, shard))
    keys = tuple(f"{id(files)} {number}" for number in range(len(counts)))
    return Built(table, keys, keys, counts, ())


FILES = st.tuples(st.sampled_from("abcdef"), st.sampled_from(["", "p", "q", "r"]), st.booleans())


@given(st.lists(st.lists(FILES, max_size=6), min_size=1, max_size=4))
def test_every_image_keeps_its_square_and_gets_its_number_among_all(
    ranges: list[list[tuple[str, str, bool]]],
) -> None:
    pieces = [piece(files) for files in ranges]
    built = united(pieces, [len(files) for files in ranges])
    everything = [file for files in ranges for file in files]
    assert built.shard_images == tuple(n for part in pieces for n in part.shard_images)
    assert list(built.table.index) == [n for n, file in enumerate(everything) if file[1]]
    seen = set()
    for number, row in built.table.iterrows():
        assert (row["sha256"], row["fingerprint"]) == everything[int(str(number))][:2]
        if not row["readable"]:
            assert (row["shard"], row["row"], row["pixels_sha256"]) == (-1, -1, "")
            continue
        assert row["row"] < built.shard_images[row["shard"]]
        seen.add((row["shard"], row["row"]))
    assert len(seen) == sum(built.shard_images)


def test_only_what_another_file_may_look_like_keeps_the_digest_of_its_pixels() -> None:
    one = piece([("a", "p", True), ("b", "q", True), ("a", "p", True)])
    other = piece([("c", "q", True), ("d", "r", True)])
    built = united([one, other], [3, 2])
    assert built.table["pixels_sha256"].tolist() == ["", "of q", "", "of q", ""]


def test_a_range_without_images_has_a_table_too() -> None:
    assert list(numbered(pd.DataFrame()).columns) == [NUMBER]
