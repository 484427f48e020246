"""Parts of the work that several tasks share: the same part is made once, whoever asks for it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from scipy.special import expit

from skin_pipeline import sharding, steps, tables
from skin_pipeline.config import Settings
from skin_pipeline.contracts import Dataset, Evaluation, Logits, Scored, dump, load
from skin_pipeline.data import demo, manifest
from skin_pipeline.errors import BadInput
from skin_pipeline.evaluation import logits
from skin_pipeline.job import Job, Work
from skin_pipeline.parting import Parts, succeeded
from skin_pipeline.storage import open_store
from skin_pipeline.training import inputs, models

if TYPE_CHECKING:
    from tests.conftest import Finished


def test_runs_stand_in_one_order_however_they_ended() -> None:
    assert succeeded(["train/2", "train/1"]) == succeeded(["train/1", "train/2"])
    with pytest.raises(BadInput, match="no training run succeeded"):
        succeeded([])


def test_all_parts_are_those_that_the_evaluation_was_made_from(finished: Finished) -> None:
    made = Parts(finished.job)
    before = finished.job.store.list("logits")
    found = made.all_of_runs(finished.split, succeeded(finished.trained))
    assert tuple(found) == load(finished.job.store, finished.evaluation, Evaluation).logits
    assert found == [
        steps.logits(finished.job, finished.split, finished.trained, shards)
        for shards in sharding.parts(finished.job, finished.split)
    ]
    assert finished.job.store.list("logits") == before


# --- external sets --------------------------------------------------------------------------------

SHARDS = [0, 1, 2]  # of 43 images
KNOWN = 3  # of them are images that our own data contain, too


class Elsewhere(NamedTuple):
    """An external set, and the evaluation whose models score it."""

    job: Job
    evaluation: str
    validation: str
    dataset: str

    def parts_of(self, seconds: float) -> Elsewhere:
        """The same, where so many core-seconds are worth a task."""
        deployment = self.job.deployment.model_copy(update={"part_seconds": seconds})
        return self._replace(job=replace(self.job, deployment=deployment))

    def mapped(self) -> list[list[list[int]]]:
        """The shards of the parts that each task makes."""
        tasks = sharding.mapped_external(self.job, self.evaluation, self.validation)
        return [[part["shards"] for part in task] for task in tasks]

    def part(self, *shards: int) -> str:
        """The key of a part, as a task makes it."""
        return steps.external_logits(self.job, self.evaluation, self.validation, "clinic", shards)

    def scored(self) -> Scored:
        """What `external` makes of the parts, also if it has made it before."""
        for key in self.job.store.list("external/"):
            self.job.store.remove(key)
        (key,) = steps.external(self.job, self.evaluation, self.validation)
        return self.job.load(key, Scored)

    def parts_made(self) -> set[str]:
        """The keys of all parts of external sets that there are."""
        keys = [key for key in self.job.store.list("logits/") if key.endswith("/result.json")]
        results = [key.removesuffix("/result.json") for key in keys]
        return {key for key in results if load(self.job.store, key, Logits).dataset}


@pytest.fixture
def elsewhere(finished: Finished, tmp_path: Path) -> Elsewhere:
    demo.generate(tmp_path / "there", seed=5, per_class=20)
    demo.generate(tmp_path / "ours", seed=0)
    for path in sorted((tmp_path / "ours/benign").iterdir())[:KNOWN]:
        shutil.copy(path, tmp_path / "there/benign" / f"known_{path.name}")
    store = f"file://{shutil.copytree(finished.root, tmp_path / 'store')}"
    changes = {"external": f"clinic={tmp_path / 'there'}", "shard_size": 16}
    settings = Settings(**{**finished.job.settings.model_dump(), **changes})
    job = Job(settings, finished.job.deployment, open_store(store))
    dataset, _, external = steps.ingest(job)
    validation = steps.validate(job, dataset, external)
    return Elsewhere(job, finished.evaluation, validation, external["clinic"])


def in_one_go(where: Elsewhere) -> dict[str, float]:
    """The probabilities of the images that our data do not contain, scored without any part."""
    work = Work(where.job, "any/1")
    model, there = work.load(where.evaluation, Evaluation), work.load(where.dataset, Dataset)
    table = manifest.read_readable(work.store, there.table)
    features = Parts(where.job).features_for(where.evaluation, where.dataset, SHARDS)
    source = inputs.Source(work.store, table, features, there.shards)
    runs = logits.runs_of(work, model.runs)
    said = models.logits_of(
        lambda: models.network_on(where.job, there, model.trunk),
        source,
        runs,
        [models.weights_of(work.store, run) for run in runs],
        [np.flatnonzero(~table["key"].str.contains("known"))] * len(runs),
        model.views * there.regions,
    )
    found = expit(said.mean(axis=0) / model.calibration.temperature)
    keys = table["key"].tolist()
    return {key: value for key, value in zip(keys, found, strict=True) if np.isfinite(value)}


def test_an_external_set_has_the_same_scores_in_parts_as_in_one_go(elsewhere: Elsewhere) -> None:
    expected = in_one_go(elsewhere)
    for seconds, parts in ((1e9, 1), (1e-9, len(SHARDS))):
        scored = elsewhere.parts_of(seconds).scored()
        assert (len(scored.logits), scored.images, scored.excluded) == (parts, 40, KNOWN)
        table = tables.read_scores(elsewhere.job.store, scored.predictions)
        found = dict(zip(table["key"], table["probability"], strict=True))
        assert found == pytest.approx(expected, abs=1e-6)


def test_a_small_external_set_is_one_part_that_no_task_makes_beforehand(
    elsewhere: Elsewhere,
) -> None:
    assert elsewhere.mapped() == []
    (part,) = elsewhere.scored().logits
    assert part == elsewhere.part(*SHARDS)


def test_of_an_external_set_what_tasks_made_is_united_and_what_is_missing_is_made(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = elsewhere.parts_of(1e-9)
    before = there.parts_made()  # other tests may have scored a set of theirs on the same store
    assert there.mapped() == [[[shard]] for shard in SHARDS]
    first, last = there.part(0), there.part(2)  # the task of the part between was lost
    asked = []
    usual = logits.of_external
    monkeypatch.setattr(
        logits, "of_external", lambda *given: asked.append(given[3]) or usual(*given)
    )
    scored = there.scored()
    assert asked == [[1]]
    assert scored.logits[0::2] == (first, last)
    assert set(scored.logits) == there.parts_made() - before
    assert there.job.load(scored.logits[1], Logits).first == 16


def test_images_that_the_models_see_in_another_way_are_not_scored(elsewhere: Elsewhere) -> None:
    job = elsewhere.job
    settings = job.settings.model_copy(update={"field_of_view": 1.0})
    made = steps.ingest(replace(job, settings=settings))
    with pytest.raises(BadInput, match=r"its field_of_view is .+, that of the images here 1\.0"):
        Parts(job).all_of_external(elsewhere.evaluation, made.external["clinic"])


def test_a_model_that_sees_both_squares_is_refused_where_only_the_centre_was_packed(
    elsewhere: Elsewhere,
) -> None:
    job = elsewhere.job
    made = steps.ingest(
        replace(job, settings=job.settings.model_copy(update={"regions": "centre"}))
    )
    with pytest.raises(BadInput, match="its regions is 2, that of the images here 1"):
        Parts(job).all_of_external(elsewhere.evaluation, made.external["clinic"])


def test_a_model_that_sees_the_centre_finds_it_in_images_packed_with_more(
    elsewhere: Elsewhere,
) -> None:
    job = elsewhere.job
    model = job.load(elsewhere.evaluation, Evaluation)
    made_for = job.load(model.dataset, Dataset).model_copy(update={"regions": 1})
    job.store.put("ingest/centre/result.json", dump(made_for))
    centre = model.model_copy(update={"dataset": "ingest/centre"})
    job.store.put("evaluate/centre/result.json", dump(centre))
    rows = np.arange(10)
    alone, both = (
        inputs.Activations(
            job.store, Parts(job).features_for(key, elsewhere.dataset, SHARDS), "pooled"
        )
        for key in ("evaluate/centre", elsewhere.evaluation)
    )
    assert (alone.views, both.views) == (model.views, 2 * model.views)
    for view in range(model.views):
        (seen,), (known,) = alone.take(rows, rows * 0 + view), both.take(rows, rows * 0 + 2 * view)
        np.testing.assert_array_equal(seen, known)
