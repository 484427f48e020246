from __future__ import annotations

from skin_pipeline.data import demo, sources


def test_a_seed_gives_the_same_images(tmp_path):
    digests = []
    for index, seed in enumerate((1, 1, 2)):
        demo.generate(tmp_path / str(index), seed, per_class=4)
        digests.append(sources.find(tmp_path / str(index)).digest)
    assert digests[0] == digests[1] != digests[2]


def test_both_classes_and_their_metadata_are_written(tmp_path):
    demo.generate(tmp_path / "demo", 0, per_class=5)
    images = sources.find(tmp_path / "demo")
    assert [item.label for item in images.files] == ["benign"] * 5 + ["malignant"] * 5
    assert len(images.tables[0].read_text().splitlines()) == 11
