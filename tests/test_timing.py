"""Each step says how much work it begins, so that it gets its time and no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from skin_pipeline import steps, timing
from skin_pipeline.contracts import Dataset, Views, load
from skin_pipeline.evaluation import tasks as evaluation
from skin_pipeline.job import Job, Work
from skin_pipeline.parting import Parts
from skin_pipeline.training import pretrained
from skin_pipeline.training import tasks as training

if TYPE_CHECKING:
    from tests.conftest import Finished


class Begun(Exception):
    """The work of a step, which the test does not do."""


def test_ingest_validate_and_split_tell_how_many_images_there_are(
    make_job: Callable[..., Job],
) -> None:
    told, job = [], make_job(runs=3)
    job = replace(job, allow=lambda seconds, work: told.append((work, seconds)))
    pinned = steps.ingest(job)
    count = sum(load(job.store, pinned.dataset, Dataset).classes.values())
    validation = steps.validate(job, pinned.dataset, pinned.external)
    steps.split(job, validation)
    assert told == [
        ("fetching a set of images", timing.FETCH),
        (f"ingest of {count} images", timing.START + count * timing.EACH_IMAGE["ingest"]),
        (f"buckets of {count} images", timing.START + count * timing.EACH_IMAGE["buckets"]),
        (f"duplicates of {count} images", timing.START + count * timing.EACH_IMAGE["duplicates"]),
        (f"validate of {count} images", timing.START + count * timing.EACH_IMAGE["validate"]),
        (
            f"split of {count} images, 3 times each",
            timing.START + 3 * count * timing.EACH_IMAGE["split"],
        ),
    ]


def test_steps_with_networks_tell_how_often_they_look_at_each_image(finished: Finished) -> None:
    told = []

    def begin(seconds: Any, work: Any) -> None:
        told.append((work, seconds))
        raise Begun

    deployment = finished.job.deployment.model_copy(update={"time_factor": 5})
    job = replace(finished.job, deployment=deployment, allow=begin)
    dataset = load(job.store, finished.dataset, Dataset)
    count = sum(dataset.classes.values())
    tuned = replace(job, settings=job.settings.model_copy(update={"strategy": "full"}))
    trunk = pretrained.trunk_of(job.settings.backbone, "none")
    for work in (
        lambda: Parts(job).features(dataset, 0, trunk, "head", Views(dihedral=7)),
        lambda: training.train(Work(job, "key"), finished.split, "index", 0),
        lambda: training.train(Work(tuned, "key"), finished.split, "index", 0),
        lambda: evaluation.evaluate(
            Work(job, "key"), finished.split, ("a", "b"), (), lambda split, runs: []
        ),
    ):
        with pytest.raises(Begun):
            work()
    knobs = job.settings
    full = knobs.epochs + knobs.tune_epochs
    images = dataset.packed(knobs.shard_size)[0]
    assert told == [
        (
            f"features of {images} images, 7 times each",
            5 * timing.allowed("features", images, 7),
        ),
        (
            f"train of {count} images, {knobs.epochs} times each",
            5 * timing.allowed("train", count, knobs.epochs),
        ),
        (f"full of {count} images, {full} times each", 5 * timing.allowed("full", count, full)),
        (f"evaluate of {count} images", 5 * timing.allowed("evaluate", count)),
    ]


def test_a_job_that_nobody_watches_tells_nobody(make_job: Callable[..., Job]) -> None:
    make_job().expect("features", 100)
    make_job().fetch()


@pytest.mark.parametrize("step", timing.LONGEST_HOURS)
def test_the_longest_time_of_a_step_grows_with_the_factor(step: str) -> None:
    assert timing.longest(step, 2) == 2 * timing.longest(step, 1)


def test_thousands_of_images_on_a_slow_machine_fit_into_the_longest_time() -> None:
    """The sets that this is made for, on two cores that need a tenth of what is allowed."""
    for step, passes in (("ingest", 1), ("validate", 1), ("split", 6), ("train", 40)):
        assert timing.allowed(step, 100_000, passes) < 3600 * timing.LONGEST_HOURS[step]
