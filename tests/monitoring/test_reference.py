"""The reference of a version: validation images, their held-out probabilities, and never a test
image."""

from __future__ import annotations

from pathlib import Path

import hand_made
import judged_run
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.special import logit

from skin_pipeline import tables
from skin_pipeline.contracts import Abstention
from skin_pipeline.errors import BadInput
from skin_pipeline.monitoring import reference
from skin_pipeline.monitoring.measures import NAMES, measure
from skin_pipeline.storage import FolderStore

KEY = "monitoring/skin/4f1a/reference.npz"


def judged(store: FolderStore, images: hand_made.Drawn, **changes: object) -> str:
    """An approved evaluation of images in a store; the key of its verdict.

    The table of probabilities has one for every image, test images too, as it never should.
    """
    features = hand_made.put_images(store, "mine", images)
    runs = hand_made.put_runs(store, "mine", features, {0: 0, 2: 1, 3: 2})
    written = judged_run.write_all(store)
    table = images.table[["key", "label", "group"]].assign(
        test=images.is_test, held_out_probability=np.linspace(0, 1, len(images.table))
    )
    about = {
        **{"split": "split/mine", "dataset": "ingest/mine", "runs": tuple(runs)},
        **{"strategy": "head", "threshold": 0.3, **changes},
        "predictions": tables.write(store, "evaluate/mine/predictions.csv", table),
    }
    evaluation = written.evaluation.model_copy(update=about)
    judged_run.put(store, "evaluate/mine", evaluation)
    verdict = written.verdict.model_copy(update={"evaluation": "evaluate/mine"})
    judged_run.put(store, "gate/mine", verdict)
    return "gate/mine"


def validating(images: hand_made.Drawn) -> NDArray[np.bool_]:
    sides = pd.concat([images.table[f"run_{run}"] for run in hand_made.RUNS], axis=1)
    return np.asarray((sides == "validation").any(axis=1) & ~images.is_test)


def test_it_has_the_validation_images_and_no_test_image(store: FolderStore) -> None:
    images = hand_made.drawn()
    made = reference.make(store, judged(store, images))
    rows = validating(images)
    assert 0 < rows.sum() < len(images.table)
    # A probability tells which image it is of; test images have one as well, in this table.
    every = np.linspace(0, 1, len(images.table)).astype(np.float32)
    np.testing.assert_array_equal(made.probability, every[rows])
    assert not set(made.probability) & set(every[images.is_test])
    np.testing.assert_array_equal(made.malignant, images.labels[rows])
    assert made.threshold == pytest.approx(0.3)


def test_a_test_image_that_validates_a_run_is_not_in_it(store: FolderStore) -> None:
    images = hand_made.drawn()
    both = images.is_test.nonzero()[0][:5]
    images.table.loc[both, "run_3"] = "validation"
    made = reference.make(store, judged(store, images))
    every = np.linspace(0, 1, len(images.table)).astype(np.float32)
    assert not set(made.probability) & set(every[both])


def test_groups_stay_together(store: FolderStore) -> None:
    images = hand_made.drawn()
    made = reference.make(store, judged(store, images))
    names = images.groups[validating(images)]
    assert len(set(zip(names, made.group, strict=True))) == len(set(names)) == len(set(made.group))


def test_measures_are_those_of_the_packed_images(store: FolderStore) -> None:
    images = hand_made.drawn()
    made = reference.make(store, judged(store, images))
    row = int(validating(images).nonzero()[0][70])
    square = np.full((hand_made.SIDE, hand_made.SIDE, 3), row % 256, np.uint8)
    expected = measure(square)
    np.testing.assert_allclose(made.measures[70], [expected[name] for name in NAMES], rtol=1e-6)


def test_a_scored_image_gets_the_embedding_that_it_has_in_the_reference(
    store: FolderStore,
) -> None:
    images = hand_made.drawn()
    made = reference.make(store, judged(store, images))
    pooled = images.logits[:, 0].T.astype(np.float32)  # the first view: the image as it is
    seen = made.embed(pooled[validating(images)])
    np.testing.assert_allclose(made.embedding, seen, rtol=1e-5)
    assert seen.shape[1] == len(hand_made.RUNS) + 1


def test_a_model_without_a_trunk_has_no_embedding(store: FolderStore) -> None:
    made = reference.make(store, judged(store, hand_made.drawn(), strategy="full"))
    assert made.embedding.shape == (len(made), 0)
    assert made.space.channels == 0


def test_a_large_reference_keeps_whole_groups(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "MOST", 100)
    images = hand_made.drawn()
    made = reference.make(store, judged(store, images))
    assert 60 < len(made) < 140
    names = images.groups[validating(images)]
    whole = pd.Series(names).value_counts()
    every = np.linspace(0, 1, len(images.table)).astype(np.float32)
    of = dict(zip(every, images.groups, strict=True))
    kept = pd.Series([of[value] for value in made.probability]).value_counts()
    assert (kept == whole[kept.index]).all()


def test_without_held_out_probabilities_there_is_nothing_to_compare_with(
    store: FolderStore,
) -> None:
    images = hand_made.drawn()
    for run in hand_made.RUNS:
        column = images.table[f"run_{run}"]
        images.table[f"run_{run}"] = column.where(column != "validation", "train")
    with pytest.raises(BadInput, match="no held-out probability of any validation image"):
        reference.make(store, judged(store, images))


def test_it_is_written_once_and_read_again(store: FolderStore) -> None:
    made = reference.make(store, judged(store, hand_made.drawn()))
    reference.write(store, KEY, made)
    read = reference.read(store, KEY)
    for name in reference.OF_IMAGES:
        np.testing.assert_array_equal(getattr(read, name), getattr(made, name))
    np.testing.assert_array_equal(read.space.axes, made.space.axes)
    assert read.threshold == made.threshold


def test_a_damaged_reference_is_refused(store: FolderStore) -> None:
    made = reference.make(store, judged(store, hand_made.drawn()))
    values = {name: getattr(made, name) for name in reference.OF_IMAGES}
    store.put_file(KEY, _npz(store, values))
    with pytest.raises(BadInput, match="it has no centre, spread, axes, threshold"):
        reference.read(store, KEY)


def test_it_knows_on_which_images_the_version_gives_no_decision(store: FolderStore) -> None:
    images = hand_made.drawn()
    rule = Abstention(margin=0.5, near=0.1)
    made = reference.make(store, judged(store, images, abstention=rule))
    near = np.abs(logit(made.probability.clip(1e-7, 1 - 1e-7)) - logit(0.3)) < 0.5
    assert 0 < near.sum() < len(near)
    np.testing.assert_array_equal(made.abstained, near)


def test_a_reference_of_before_there_was_abstention_has_a_decision_on_each(
    store: FolderStore,
) -> None:
    made = reference.make(store, judged(store, hand_made.drawn()))
    values = {name: getattr(made, name) for name in reference.OF_IMAGES if name != "abstained"}
    values |= {name: getattr(made.space, name) for name in reference.OF_SPACE}
    store.put_file(KEY, _npz(store, {**values, "threshold": np.array([0.3])}))
    assert reference.read(store, KEY).abstained.tolist() == [0] * len(made)


def _npz(store: FolderStore, values: dict[str, NDArray[np.float32]]) -> Path:
    path = store.root / "damaged.npz"
    np.savez(path, **values)  # type: ignore[arg-type]
    return path
