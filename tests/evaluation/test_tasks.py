"""From documents to an evaluation: which images each run scores, and where each figure goes.

The models are linear, on features that the test wrote (`hand_made`); so is the saved model.
"""

from __future__ import annotations

import dataclasses
import io
import json
from typing import Any

import documents
import hand_made
import judged_run
import numpy as np
import pandas as pd
import pytest
from hand_made import Network
from PIL import Image
from scipy.special import expit

from skin_pipeline import intervals, tables
from skin_pipeline.contracts import Evaluation
from skin_pipeline.evaluation import ensemble, saliency, scoring, slices, tasks
from skin_pipeline.evaluation.ensemble import Scores
from skin_pipeline.evaluation.metrics import Predictions
from skin_pipeline.job import Work
from skin_pipeline.model_file import building, loading, trial
from skin_pipeline.storage import FolderStore
from skin_pipeline.training import models

VIEWS, SCORED = 4, 2
CHANNELS = {0: 2, 2: 0, 3: 1}  # which channel of the features each run reads
SHORTCUTS = ("original size",)
TARGET = 0.9


@dataclasses.dataclass
class Saved:
    """A released model as the file that it is saved to: what it was built with."""

    built: dict[str, Any]

    def save(self, path: Any) -> None:
        path.write_text(json.dumps(self.built))


class World:
    """A split with three runs, and what `evaluate` was made to say of it."""

    def __init__(
        self,
        store: Any,
        monkeypatch: Any,
        *,
        sure: bool = False,
        synthetic: bool = False,
        **settings: Any,
    ) -> None:
        self.images = hand_made.drawn(0, patients=120, models=3, views=VIEWS)
        if sure:
            self.images.logits[:] = np.where(self.images.labels == 1, 3.0, -3.0)
        self.images.logits[:, SCORED:] *= -1  # views that are not to be scored
        self.job = hand_made.job(store, views=VIEWS, test_views=SCORED, **settings)
        self.golden = {
            key: f"images/{key}" for key in self.images.table["key"][self._golden()].to_list()
        }
        for key, copy in self.golden.items():
            store.put(copy, key.encode())
        features = hand_made.put_images(
            store, "now", self.images, golden=self.golden, synthetic=synthetic
        )
        self.keys = tuple(hand_made.put_runs(store, "now", features, CHANNELS))
        self.features = features
        self.built: dict[str, Any] = {}
        self.explained: list[Any] = []
        self._without_tensorflow(monkeypatch)

    def _golden(self) -> list[Any]:
        """One image of each side of the first run."""
        first = [np.flatnonzero(self.images.on(0, side))[0] for side in ("train", "validation")]
        return [*first, np.flatnonzero(self.images.is_test)[0]]

    def _without_tensorflow(self, monkeypatch: Any) -> None:
        monkeypatch.setattr(
            models,
            "network_on",
            lambda job, dataset, trunk: hand_made.Network(dataset.image_size, trunk),
        )
        monkeypatch.setattr(building, "released_model", self._released)
        monkeypatch.setattr(loading, "load", lambda path, threads: json.loads(path.read_text()))
        monkeypatch.setattr(trial, "probabilities", self._probabilities)
        monkeypatch.setattr(saliency, "saliency", self._saliency)

    def _released(
        self,
        network: Any,
        strategy: Any,
        weights: Any,
        field_of_view: Any,
        *,
        regions: Any,
        views: Any,
        temperature: Any,
    ) -> Saved:
        self.built = {
            "strategy": strategy,
            "channels": [int(np.argmax(arrays[2])) for arrays in weights],
            "field_of_view": field_of_view,
            "regions": regions,
            "views": views,
            "temperature": temperature,
        }
        return Saved(self.built)

    def _probabilities(self, model: Any, files: Any) -> Any:
        """What the saved model says, from what it was built with."""
        names = self.images.table["key"].to_list()
        numbers = [names.index(data.decode()) for data in files]
        logits = self.images.logits[model["channels"], : model["views"]].mean(axis=(0, 1))
        return expit(logits[numbers] / model["temperature"])

    def _saliency(self, network: Any, strategy: Any, weights: Any, squares: Any) -> Any:
        """Everything speaks for malignant, and the more the further down."""
        self.explained = list(squares[:, 0, 0, 0])
        down = np.arange(hand_made.SIDE, dtype=np.float32)[:, None]
        return np.broadcast_to(down, squares.shape[:3])

    @property
    def logits(self) -> Any:
        """(runs, n), in the order of the runs' numbers."""
        return self.images.logits[list(CHANNELS.values()), :SCORED].mean(axis=1)

    def expected(self) -> Scores:
        judging = ensemble.Judging.of(self.job.settings)
        return ensemble.score(self.images.table, self.logits, tuple(CHANNELS), judging)

    def evaluate(self) -> Evaluation:
        work = Work(self.job, "evaluate/now")
        return tasks.evaluate(work, "split/now", self.keys, SHORTCUTS, self._parts)

    def _parts(self, split: str, runs: Any) -> list[str]:
        return hand_made.put_logits(self.job, split, runs, self.features, SCORED)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 50)


@pytest.fixture
def linear(monkeypatch: pytest.MonkeyPatch) -> list[Network]:
    return hand_made.score_linearly(monkeypatch)


@pytest.fixture
def world(store: FolderStore, monkeypatch: pytest.MonkeyPatch, linear: list[Network]) -> World:
    return World(store, monkeypatch, target_sensitivity=TARGET)


@pytest.fixture
def seen(world: World) -> Evaluation:
    return world.evaluate()


def alike(ours: Any, theirs: Any) -> bool:
    """Whether documents are the same but for what single precision takes off."""
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(alike(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list | tuple):
        return len(ours) == len(theirs) and all(map(alike, ours, theirs))
    return ours == pytest.approx(theirs, rel=1e-4, nan_ok=True)


def test_the_figures_are_those_of_the_runs_on_the_test_set_under_their_own_numbers(
    world: World, seen: Evaluation
) -> None:
    expected = world.expected()
    assert tuple(seen.per_run) == (0, 2, 3)
    assert seen.seeds == {run: 70 + run for run in (0, 2, 3)}
    assert alike(seen.ensemble.model_dump(), expected.ensemble.model_dump())
    for run in (0, 2, 3):
        assert alike(seen.per_run[run].model_dump(), expected.per_run[run].model_dump())
    assert alike(seen.calibration.model_dump(), expected.calibration.model_dump())
    assert seen.threshold == seen.ensemble.threshold
    assert (seen.views, seen.strategy, seen.runs) == (SCORED, "head", world.keys)
    assert (seen.dataset, seen.split, seen.trunk) == ("ingest/now", "split/now", hand_made.TRUNK)


@pytest.mark.parametrize("synthetic", [True, False])
def test_drawn_images_are_told_apart_from_real_ones(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, linear: list[Network], synthetic: bool
) -> None:
    assert World(store, monkeypatch, synthetic=synthetic).evaluate().synthetic == synthetic


def test_the_target_is_met_on_images_that_no_run_trained_on_with(
    world: World, seen: Evaluation
) -> None:
    table = tables.read_scores(world.job.store, seen.predictions)
    here = table[table["held_out_probability"].notna() & (table["label"] == "malignant")]
    scores = here["held_out_probability"]
    assert (scores >= seen.threshold).mean() >= TARGET > (scores > seen.threshold).mean()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("target_sensitivity", 0.7),
        ("threshold_by", "lower_bound"),
        ("threshold_by", "guaranteed"),
        ("prevalences", "0.4"),
        ("seed", 11),
    ],
)
def test_every_setting_of_the_judging_reaches_the_figures(
    store: FolderStore,
    monkeypatch: pytest.MonkeyPatch,
    linear: list[Network],
    seen: Evaluation,
    setting: str,
    value: float | str,
) -> None:
    given: dict[str, Any] = {
        "target_sensitivity": 0.8 if setting == "threshold_by" else TARGET,
        setting: value,
    }
    other = World(store, monkeypatch, **given)
    evaluation = other.evaluate()
    assert alike(evaluation.ensemble.model_dump(), other.expected().ensemble.model_dump())
    assert not alike(evaluation.ensemble.model_dump(), seen.ensemble.model_dump())


def test_only_images_whose_score_says_something_have_one(world: World, seen: Evaluation) -> None:
    table = tables.read_scores(world.job.store, seen.predictions).set_index("key")
    images = world.images
    golden = images.table["key"].isin(list(world.golden)).to_numpy()
    for run in CHANNELS:
        scored = images.is_test | golden | images.on(run, "validation")
        assert (table[f"run_{run}"].notna().to_numpy() == scored).all()
    assert (table["probability"].notna().to_numpy() >= images.is_test | golden).all()
    held_out = np.any([images.on(run, "validation") for run in CHANNELS], axis=0)
    assert (table["held_out_probability"].notna().to_numpy() == held_out).all()
    assert (table["test"].to_numpy() == images.is_test).all()


def test_the_saved_model_is_that_of_the_evaluation_and_says_the_same_of_golden_images(
    world: World, seen: Evaluation
) -> None:
    assert world.built == {
        "strategy": "head",
        "channels": list(CHANNELS.values()),
        "field_of_view": 0.8,
        "regions": 1,
        "views": SCORED,
        "temperature": seen.calibration.temperature,
    }
    assert json.loads(world.job.store.read(seen.model)) == world.built
    assert seen.smoke_difference < 1e-4


@pytest.mark.parametrize("broken", [0.3, np.nan])
def test_the_largest_difference_of_the_saved_model_is_told_whichever_image_it_is_on(
    world: World, monkeypatch: pytest.MonkeyPatch, broken: Any
) -> None:
    honest = world._probabilities

    def off(model: Any, files: Any) -> Any:
        found = honest(model, files)
        found[-1] += broken * (1 if found[-1] < 0.5 else -1)
        return found

    monkeypatch.setattr(trial, "probabilities", off)
    assert world.evaluate().smoke_difference == pytest.approx(broken, abs=1e-4, nan_ok=True)


def test_slices_and_strata_are_those_of_the_test_images_at_the_ensembles_threshold(
    world: World, seen: Evaluation
) -> None:
    images, table = world.images, tables.read_scores(world.job.store, seen.predictions)
    scores, test = table["probability"].to_numpy(), images.is_test
    rows, seed = images.table[test], world.job.settings.seed
    expected = slices.slices(rows, Predictions(scores[test], seen.threshold), seed)
    assert {item.feature for item in seen.slices} == {"sex", "original size"}
    assert [dict(item) for item in seen.slices] == [dict(item) for item in expected]
    (within,) = slices.within(images.table, test, scores, SHORTCUTS, seed)
    assert seen.within == (within,)


def test_each_mistake_is_shown_with_its_own_picture_and_what_spoke_for_its_call(
    world: World, seen: Evaluation
) -> None:
    table = tables.read_scores(world.job.store, seen.predictions)
    expected = saliency.most_confident(table, seen.threshold)
    assert [item.key for item in seen.mistakes] == list(expected["key"])
    assert world.explained == [number % 256 for number in expected.index]
    labels = [item.label for item in seen.mistakes]
    assert labels == ["malignant"] * 4 + ["benign"] * 4
    for item in seen.mistakes:
        with Image.open(io.BytesIO(world.job.store.read(item.saliency))) as picture:
            column = np.asarray(picture.convert("RGB"), int)[:, 0]
        drawn = np.abs(column - column[0]).sum(axis=1)
        # What speaks for malignant is laid over false alarms only: what is missed spoke against.
        assert (drawn[-1] > 60) == (item.label == "benign")
        with Image.open(io.BytesIO(world.job.store.read(item.square))) as picture:
            assert np.ptp(np.asarray(picture)) < 20


def test_an_image_at_the_threshold_is_shown_as_a_false_alarm(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = tasks._judge

    def at_the_threshold(*args: Any) -> Any:
        made = judged(*args)
        table, at = made.scores.predictions.copy(), made.scores.ensemble.threshold
        here = table["test"] & (table["label"] == "benign")
        table.loc[here, "probability"] = at
        table.loc[~here, "probability"] = 1.0
        return dataclasses.replace(made, scores=dataclasses.replace(made.scores, predictions=table))

    monkeypatch.setattr(tasks, "_judge", at_the_threshold)
    mistakes = world.evaluate().mistakes
    assert [item.label for item in mistakes] == ["benign"] * 4
    with Image.open(io.BytesIO(world.job.store.read(mistakes[0].saliency))) as picture:
        assert np.ptp(np.asarray(picture.convert("RGB"), int)[:, 0, 0]) > 60


def test_a_model_without_mistakes_shows_none(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch, linear: list[Network]
) -> None:
    world = World(store, monkeypatch, sure=True)
    assert world.evaluate().mistakes == ()
    assert world.explained == []


def test_images_that_our_own_data_contain_too_are_not_scored_in_a_set_of_another_origin(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The models were trained on them: see test_scoring for the scores of the others."""
    overlap = pd.DataFrame([("b.jpg", "ours.jpg", "near", 0.9)])
    overlap.columns = ["key", "of", "kind", "likeness"]
    judged_run.put(store, "ingest/there", documents.dataset("ingest/there"))
    checked = documents.validation(
        "validate/1",
        "ingest/1",
        external={"clinic": "ingest/there"},
        overlaps={"clinic": tables.write(store, "overlap.csv", overlap)},
    )
    judged_run.put(store, "validate/1", checked)
    there = pd.DataFrame({"key": ["a.jpg", "b.jpg", "c.jpg"]})
    asked: list[Any] = []
    monkeypatch.setattr(scoring, "external_table", lambda *_: there)
    monkeypatch.setattr(scoring, "scored", lambda *given: asked.append(given))
    work = Work(hand_made.job(store), "external/1")
    judged_run.put(store, "evaluate/1", documents.evaluation())
    tasks.external(
        *(work, "clinic", "evaluate/1", "validate/1", lambda *given: list(given)),
        lambda *given: pytest.fail("nothing is familiar to this model"),
    )
    ((_, evaluation, about, table, wanted, parts, familiarity),) = asked
    assert np.isnan(familiarity).tolist() == [True] * 3
    assert (evaluation, about.excluded, table is there) == ("evaluate/1", 1, True)
    assert (list(wanted), parts) == ([True, False, True], ("evaluate/1", "ingest/there"))
