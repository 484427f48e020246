"""An epoch goes through its images in an order of its own, in batches of one size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from telling import Told

from skin_pipeline.training.batches import Order, batch_of
from skin_pipeline.training.stages import Examples, Stage


def order(
    seed: int = 1,
    number: int = 0,
    epoch: int = 1,
    count: int = 20,
    views: int = 4,
    batch: int = 8,
    **changes: Any,
) -> Order:
    data = Examples(Told(), np.arange(count), np.arange(count) % 2, views)
    values: dict[str, Any] = {
        **{"name": "head", "build": list, "train": data, "validation": data, "epochs": 1},
        **{"patience": 1, "batch_size": batch, "rate": 0.1, "rate_setting": "learning_rate"},
        **{"every_view": True, **changes},
    }
    return Order(Stage(**values), seed, number, epoch)


def pairs(drawn: Order) -> list[tuple[int, int]]:
    """What the batches of an epoch hold: images with their views."""
    taken = [drawn[number] for number in range(len(drawn))]
    return [pair for images, views in taken for pair in zip(images, views, strict=True)]


def test_an_epoch_of_a_head_goes_through_every_view_of_every_image_once() -> None:
    seen = pairs(order())
    assert sorted(seen) == [(image, view) for image in range(20) for view in range(4)]
    assert [view for _, view in seen] != sorted(view for _, view in seen)


def test_an_epoch_of_tuning_goes_through_every_image_once_each_in_a_view_at_random() -> None:
    seen = pairs(order(every_view=False, count=400))
    assert sorted(image for image, _ in seen) == list(range(400))
    assert all(80 < count < 120 for count in np.bincount([view for _, view in seen], minlength=4))
    assert [image for image, _ in seen] != sorted(image for image, _ in seen)


@pytest.mark.parametrize("every_view", [True, False])
@pytest.mark.parametrize("other", [{"seed": 2}, {"number": 1}, {"epoch": 2}])
def test_every_epoch_of_every_stage_of_every_run_has_an_order_of_its_own(
    every_view: bool, other: dict[str, int]
) -> None:
    one, same, another = (
        pairs(order(every_view=every_view, **changes)) for changes in ({}, {}, other)
    )
    assert one == same
    assert one != another
    assert [view for _, view in one] != [view for _, view in another]


@pytest.mark.parametrize(
    ("count", "batch", "batches", "size"),
    [(20, 8, 10, 8), (3, 8, 1, 8), (1, 8, 1, 4), (5, 7, 2, 7)],
)
def test_batches_are_of_one_size_and_what_is_left_over_waits_for_another_epoch(
    count: int, batch: int, batches: int, size: int
) -> None:
    drawn = order(count=count, batch=batch)
    assert len(drawn) == batches
    assert [len(drawn[number][0]) for number in range(batches)] == [size] * batches
    assert [len(drawn[number][1]) for number in range(batches)] == [size] * batches


DRAWN = (np.array([2, 0]), np.array([3, 1]))
TOLD = (np.array([50, 60, 70]), np.array([1, 0, 0]))  # rows and labels


def test_a_batch_holds_the_rows_of_its_images_in_their_views_with_their_labels() -> None:
    read, labels = batch_of(Examples(Told(), *TOLD), *DRAWN)
    assert read.tolist() == [[70, 3], [50, 1]]
    assert labels.tolist() == [[0], [1]]
    assert labels.dtype == np.float32


def test_a_batch_holds_the_weights_of_its_images() -> None:
    weights = np.array([0.1, 0.2, 0.3], np.float32)
    batch = batch_of(Examples(Told(), *TOLD, weights=weights), *DRAWN)
    assert batch[2] == pytest.approx([0.3, 0.1])


def test_a_batch_holds_all_that_a_model_reads() -> None:
    (one, two), _ = batch_of(Examples(Told(2), *TOLD), *DRAWN)
    assert one.tolist() == [[70, 3], [50, 1]]
    assert two.tolist() == [[-70, -3], [-50, -1]]
