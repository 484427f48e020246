"""Which images a name in a table means."""

from __future__ import annotations

from skin_pipeline.data.foreign_tables.image_names import ImageNames


def test_a_name_is_the_same_whichever_way_its_accents_are_written() -> None:
    apart, together = "Le\u0301sion 1", "L\u00e9sion 1"
    assert apart != together
    assert ImageNames([f"benign/{apart}.jpg"]).images(together) == (0,)
    assert ImageNames([f"benign/{together}.jpg"]).images(f"{apart}.JPG") == (0,)


def test_a_path_means_the_image_whose_whole_folder_it_names() -> None:
    names = ImageNames(["part_1/a.jpg", "apart_1/a.jpg"])
    assert names.images("part_1/a.jpg") == (0,)
    assert names.images("a") == (0, 1)


def test_a_table_may_name_the_files_as_they_were_before_they_were_saved_as_jpeg() -> None:
    names = ImageNames(["benign/a.jpg", "benign/b.v2.jpg"])
    assert [names.images(f"a.{suffix}") for suffix in ("dcm", "HEIC", "gif", "tif")] == [(0,)] * 4
    assert names.images("b.v2") == (1,)
    assert names.images("a.v2") == ()
