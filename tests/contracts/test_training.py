"""Documents of the training read back as they were written."""

from __future__ import annotations

import json

from skin_pipeline.contracts import Epoch, Features, Logits, TrainedRun, Trunk, dump, parse

EPOCH = Epoch(
    stage="head",
    epoch=1,
    loss=0.7,
    validation_loss=0.6,
    validation_auc=0.8,
    validation_sensitivity=0.9,
    validation_specificity=0.6,
    images_per_second=1000.0,
    seconds=0.5,
)


def test_a_trained_run_reads_back_with_its_history() -> None:
    run = TrainedRun(
        run=0,
        seed=7,
        split="split/1",
        strategy="head",
        features=("features/1",),
        weights="train/1/weights.npz",
        held_out="train/1/held_out.npy",
        table="train/1/history.csv",
        best=EPOCH,
        history=(EPOCH, EPOCH),
    )
    assert parse(dump(run), TrainedRun, "train/1") == run


def test_features_read_back_with_their_kinds() -> None:
    trunk = Trunk(backbone="ResNet50", source="none", digest="0")
    features = Features(
        shard="ingest/1/0.npy",
        trunk=trunk,
        views=2,
        blocks={"pooled": ("cache/0.npy",), "maps": ()},
        places={"pooled": "features/1/pooled.npy"},
    )
    assert parse(dump(features), Features, "features/1") == features


def test_logits_of_a_split_that_an_earlier_version_wrote_are_still_read() -> None:
    """They do not name a data set."""
    known = {"runs": ("train/1",), "views": 2, "first": 0, "images": 3, "values": "v.npy"}
    of_split = Logits(split="split/1", **known)
    written = json.loads(dump(of_split))
    assert written.pop("dataset") == ""
    assert parse(json.dumps(written).encode(), Logits, "logits/1") == of_split
    of_set = Logits(split="", dataset="ingest/1", **known)
    assert parse(dump(of_set), Logits, "logits/1") == of_set
