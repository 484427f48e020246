"""Judged models on images that they were not made with: the champion, and sets of another origin.

The models are linear, on features that a test wrote (`hand_made`), so that each probability is
known: calibrated, averaged over the runs and over the model's own views.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import documents
import hand_made
import judged_run
import numpy as np
import pandas as pd
import pytest
from hand_made import Drawn, Network
from scipy.special import expit

from skin_pipeline import intervals, steps, tables
from skin_pipeline.contracts import Evaluation, Pointer, Release, Scored, Views, load
from skin_pipeline.errors import BadInput
from skin_pipeline.evaluation import logits, metrics, scoring, tasks
from skin_pipeline.evaluation.metrics import Predictions, Sample
from skin_pipeline.job import Job, Work
from skin_pipeline.parting import Parts
from skin_pipeline.release import Model
from skin_pipeline.storage import FolderStore

TEMPERATURE, THRESHOLD, VIEWS = 4.0, 0.37, 2
CHANNELS = {0: 4, 3: 1}  # which channel of the features each of the champion's runs reads
CHAMPION = "evaluate/champion"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 100)


@pytest.fixture
def linear(monkeypatch: pytest.MonkeyPatch) -> list[Network]:
    return hand_made.score_linearly(monkeypatch)


def put_champion(store: FolderStore, **changes: Any) -> Evaluation:
    """The champion: two runs, trained on `split/old`."""
    runs = hand_made.put_runs(store, "old", [], CHANNELS)
    made = documents.evaluation(**{
        "dataset": "ingest/old",
        "split": "split/old",
        "trunk": hand_made.TRUNK,
        "views": VIEWS,
        "runs": tuple(runs),
        "threshold": THRESHOLD,
        "calibration": documents.evaluation().calibration.model_copy(
            update={"temperature": TEMPERATURE}
        ),
        **changes,
    })
    judged_run.put(store, CHAMPION, made)
    return made


def probabilities(images: Drawn, views: int = VIEWS) -> Any:
    """What the champion says of images."""
    logits = images.logits[list(CHANNELS.values()), :views].mean(axis=(0, 1))
    return expit(logits / TEMPERATURE)


def images(seed: int) -> Drawn:
    """Images with more views than the champion is scored on, of which the others disagree."""
    made = hand_made.drawn(seed, patients=90, models=5, views=4)
    made.logits[:, VIEWS:] *= -1
    return made


def assert_judged(job: Job, seen: Scored, images: Drawn, rows: Any) -> None:
    """The champion was scored on these rows and no others, at its own threshold."""
    table = tables.read_scores(job.store, seen.predictions)
    assert list(table["key"]) == list(images.table["key"][rows])
    np.testing.assert_allclose(table["probability"], probabilities(images)[rows], rtol=1e-5)
    expected = metrics.figures(
        Predictions(table["probability"].to_numpy(), THRESHOLD),
        Sample(
            images.labels[rows],
            images.groups[rows],
            job.settings.seed,
            job.settings.prevalence_list,
        ),
    )
    assert seen.figures == expected
    assert seen.images == rows.sum()


# --- the champion on today's test set ------------------------------------------------------------


def champion(job: Job, features: Any) -> Scored:
    def parts(evaluation: str, split: str) -> list[str]:
        runs = load(job.store, evaluation, Evaluation).runs
        return hand_made.put_logits(job, split, runs, features, VIEWS)

    work = Work(job, "champion/1")
    return scoring.on_test_set(work, "split/new", "v1", CHAMPION, parts)


@pytest.fixture
def today(store: FolderStore) -> tuple[Any, Any, list[str]]:
    """Images of now and of the champion's training; the features of the former."""
    old, new = images(1), images(2)
    new.table["group"] = "new:" + new.table["group"]
    hand_made.put_images(store, "old", old)
    put_champion(store)
    return old, new, hand_made.put_images(store, "new", new)


def test_the_champion_is_scored_as_it_was_judged(
    store: FolderStore, today: tuple[Any, Any, list[str]], linear: list[Network]
) -> None:
    """By all its runs, on its own views, with its temperature, at its threshold."""
    _, new, features = today
    job = hand_made.job(store)
    seen = champion(job, features)
    assert_judged(job, seen, new, new.is_test)
    assert (seen.name, seen.evaluation, seen.dataset) == ("v1", CHAMPION, "ingest/new")
    assert seen.excluded == 0
    assert 0.1 < seen.figures.specificity.value < 0.95


def test_the_champion_sees_by_its_own_network(
    store: FolderStore, today: tuple[Any, Any, list[str]], linear: list[Network]
) -> None:
    _, _, features = today
    champion(hand_made.job(store), features)
    assert linear == []  # a head reads features


KNOWN = {
    "the same file": ("sha256", "train"),
    "the same pixels in another file": ("pixels_sha256", "train"),
    "another image of the group": ("group", "train"),
    "another image of a group that it validated on": ("group", "validation"),
    "another image of a group that only its last run trained on": ("group", "last"),
    "another image of a patient whose group is called after another": ("patient_id", "train"),
    "another image of a lesion whose group is called after another": ("lesion_id", "train"),
}


@pytest.mark.parametrize("case", KNOWN)
def test_test_images_that_the_champion_has_met_are_left_out(
    store: FolderStore, linear: list[Network], case: str
) -> None:
    column, side = KNOWN[case]
    old, new = images(1), images(2)
    new.table["pixels_sha256"] = "new:" + new.table["key"]
    runs = ["run_0", "run_2", "run_3"]
    old.table.loc[0, runs] = ["unused", "unused", "train"] if side == "last" else side
    old.table.loc[0, ["pixels_sha256", "group", "patient_id", "lesion_id"]] = [*"pgal"]
    met = np.flatnonzero(new.is_test)[:3].tolist()
    new.table["group"] = "new:" + new.table["key"]
    known: Any = old.table.at[0, column]
    new.table.loc[met, column] = known
    hand_made.put_images(store, "old", old)
    put_champion(store)
    job = hand_made.job(store)
    seen = champion(job, hand_made.put_images(store, "new", new))
    assert seen.excluded == 3
    assert_judged(job, seen, new, new.is_test & ~np.isin(np.arange(len(new.table)), met))


@pytest.mark.parametrize("side", ["test", "unused"])
def test_what_the_champion_did_not_learn_from_is_new_to_it(
    store: FolderStore, linear: list[Network], side: str
) -> None:
    old, new = images(1), images(2)
    new.table["group"] = "new:" + new.table["group"]
    old.table.loc[0, ["run_0", "run_2", "run_3"]] = side
    met = np.flatnonzero(new.is_test)[:3].tolist()
    known: Any = old.table.at[0, "sha256"]
    new.table.loc[met, "sha256"] = known
    hand_made.put_images(store, "old", old)
    put_champion(store)
    assert champion(hand_made.job(store), hand_made.put_images(store, "new", new)).excluded == 0


def test_that_the_pixels_of_two_images_are_not_known_does_not_make_them_the_same() -> None:
    nothing = {key: [""] for key in scoring.SAME}
    trained = pd.DataFrame({**nothing, "sha256": ["a"], "group": ["g"]})
    table = pd.DataFrame({**nothing, "sha256": ["b"], "group": ["h"]})
    assert not scoring.known_to(trained, table).any()


def test_a_group_that_has_another_name_by_now_is_known_as_a_whole(
    store: FolderStore, linear: list[Network]
) -> None:
    """A new near-duplicate of an image that the champion was trained on is listed under a patient
    of the test set: both patients are one group now, called after the other one."""
    old, new = images(1), images(2)
    new.table["group"] = "new:" + new.table["group"]
    inside = np.flatnonzero(new.is_test)[:2]
    outside = np.flatnonzero(new.on(0, "train"))[:1]
    new.table.loc[[*inside, *outside], "group"] = "one"
    new.table.loc[outside, "sha256"] = old.table["sha256"][np.flatnonzero(old.on(0, "train"))[0]]
    hand_made.put_images(store, "old", old)
    put_champion(store)
    job = hand_made.job(store)
    seen = champion(job, hand_made.put_images(store, "new", new))
    assert seen.excluded == 2
    assert_judged(job, seen, new, new.is_test & ~np.isin(np.arange(len(new.table)), inside))


def not_computed(*_: Any) -> Sequence[str]:
    pytest.fail("features were computed")


def test_on_the_split_that_it_was_judged_on_the_champions_own_scores_are_found_again(
    store: FolderStore,
) -> None:
    """Those of the test images alone, though it has scores of validation images as well."""
    old = images(1)
    hand_made.put_images(store, "old", old)
    table = old.table[["key", "label", "group"]].assign(
        test=old.is_test, probability=probabilities(old)
    )
    key = tables.write(store, f"{CHAMPION}/predictions.csv", table)
    put_champion(store, predictions=key)
    job = hand_made.job(store)
    work = Work(job, "champion/1")
    seen = scoring.on_test_set(work, "split/old", "v1", CHAMPION, not_computed)
    assert_judged(job, seen, old, old.is_test)
    assert (seen.name, seen.dataset, seen.excluded) == ("v1", "ingest/old", 0)


@pytest.mark.parametrize("setting", ["seed", "prevalences"])
def test_figures_follow_the_run_s_own_settings(
    store: FolderStore, today: tuple[Any, Any, list[str]], linear: list[Network], setting: str
) -> None:
    _, _, features = today
    other = {"seed": 8, "prevalences": "0.4"}[setting]
    one = champion(hand_made.job(store), features).figures
    two = champion(hand_made.job(store, **{setting: other}), features).figures
    assert one.auc.value == two.auc.value
    if setting == "seed":
        assert one.auc.low != two.auc.low
    else:
        assert [item.prevalence for item in two.predictive] == [0.4]


# --- by the step ---------------------------------------------------------------------------------


@pytest.fixture
def promoted(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version whose verdict is on `CHAMPION`, as the champion of the model."""
    pointer = Pointer(
        model="skin-resnet50", version="a1", previous=None, moved_at="", by="", reason=""
    )
    release = Release(
        model="skin-resnet50",
        version="a1",
        verdict="gate/champion",
        synthetic=False,
        content_digest="0",
        labels=("benign", "malignant"),
        threshold=THRESHOLD,
        files={},
    )
    judged_run.put(store, "gate/champion", documents.verdict(evaluation=CHAMPION))
    monkeypatch.setattr(Model, "champion", pointer)
    monkeypatch.setattr(Model, "release", lambda *_: release)


@pytest.mark.parametrize(
    ("name", "value"), [("image_size", 128), ("image_size", 448), ("field_of_view", 1.0)]
)
def test_a_champion_that_sees_images_in_another_way_is_not_scored(
    store: FolderStore, promoted: None, name: str, value: float
) -> None:
    hand_made.put_images(store, "old", images(1), **{name: value})
    hand_made.put_images(store, "new", images(2))
    put_champion(store)
    seen = load(store, steps.champion(hand_made.job(store), "split/new"), Scored)
    usual = {"image_size": 224, "field_of_view": 0.8}[name]
    assert seen.problem == f"its {name} is {value}, that of the images here {usual}"
    assert (seen.figures, seen.images, seen.evaluation) == (None, 0, CHAMPION)


def test_the_step_asks_for_the_features_that_the_champion_reads(
    store: FolderStore,
    promoted: None,
    today: tuple[Any, Any, list[str]],
    linear: list[Network],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its own strategy, trunk and views, whatever this run's settings are."""
    _, new, features = today
    asked = []

    def made(_: Any, dataset: Any, shard: Any, trunk: Any, strategy: Any, views: Any) -> Any:
        asked.append((dataset.table, shard, trunk, strategy, views))
        return features[shard]

    monkeypatch.setattr(Parts, "features", made)
    job = hand_made.job(store, strategy="fine_tune", views=4, backbone="ResNet50V2")
    seen = load(store, steps.champion(job, "split/new"), Scored)
    assert_judged(job, seen, new, new.is_test)
    place = "split/new/manifest.parquet"
    assert asked == [
        (place, shard, hand_made.TRUNK, "head", Views(dihedral=VIEWS)) for shard in (0, 1)
    ]


def test_the_step_finds_the_scores_again_only_on_the_very_split(
    store: FolderStore, promoted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand_made.put_images(store, "old", images(1))
    hand_made.put_images(store, "new", images(2))
    put_champion(store)

    def refused(*_: Any) -> None:
        raise BadInput("asked for")

    monkeypatch.setattr(scoring, "_as_judged", lambda *_: pytest.fail("not its split"))
    monkeypatch.setattr(scoring, "_scored_again", refused)
    seen = load(store, steps.champion(hand_made.job(store), "split/new"), Scored)
    assert seen.problem == "asked for"


# --- sets of another origin ----------------------------------------------------------------------


@pytest.fixture
def elsewhere(store: FolderStore) -> tuple[Drawn, list[str]]:
    """A set of another origin, of which the model's own data hold the first four images."""
    hand_made.put_images(store, "old", images(1))
    there = images(3)
    there.table["patient_id"] = there.table["group"].str.removeprefix("patient_id:")
    features = hand_made.put_images(store, "there", there)
    overlap = there.table[["key"]].head(4).assign(of="ours.jpg", kind="near", likeness=0.9)
    judged_run.put(
        store,
        "validate/1",
        documents.validation(
            "validate/1",
            "ingest/old",
            external={"clinic": "ingest/there", "other": "ingest/old"},
            overlaps={"clinic": tables.write(store, "overlap.csv", overlap), "other": ""},
        ),
    )
    put_champion(store)
    return there, features


def external(job: Job, features: list[str]) -> Scored:
    def parts(evaluation: str, dataset: str) -> list[str]:
        runs = load(job.store, evaluation, Evaluation).runs
        return hand_made.put_logits(job, dataset, runs, features, VIEWS, logits.of_external)

    return tasks.external(
        Work(job, "external/1"), "clinic", CHAMPION, "validate/1", parts, lambda *given: []
    )


def test_a_set_of_another_origin_is_scored_without_what_our_data_hold(
    store: FolderStore, elsewhere: tuple[Drawn, list[str]], linear: list[Network]
) -> None:
    there, features = elsewhere
    job = hand_made.job(store)
    seen = external(job, features)
    assert (seen.name, seen.dataset, seen.excluded) == ("clinic", "ingest/there", 4)
    assert_judged(job, seen, there, np.arange(len(there.table)) >= 4)
    assert seen.logits == ("logits/there-0", "logits/there-1")
    assert linear == []  # a head reads features


def test_images_of_a_patient_elsewhere_are_no_independent_ones(
    store: FolderStore, elsewhere: tuple[Drawn, list[str]], linear: list[Network]
) -> None:
    """The interval is as wide as that of so many patients."""
    there, features = elsewhere
    job = hand_made.job(store)
    seen = external(job, features).figures
    rows = np.arange(len(there.table)) >= 4
    scores, labels = probabilities(there)[rows], there.labels[rows]
    alone = metrics.figures(
        Predictions(scores, THRESHOLD), Sample(labels, np.arange(len(labels)), job.settings.seed)
    )
    assert seen.auc.high - seen.auc.low > 1.1 * (alone.auc.high - alone.auc.low)


def test_elsewhere_images_of_a_patient_are_one_group_else_those_of_a_lesion(
    store: FolderStore,
) -> None:
    links = [("P", "L"), ("P", "M"), ("", "L"), ("", "L"), ("", ""), ("", ""), ("L", "")]
    table = hand_made.rows(np.zeros(len(links), bool), [""] * len(links), {})
    table[["patient_id", "lesion_id"]] = links
    broken = table.tail(1).assign(key="broken.jpg", readable=False)
    key = tables.write(store, "there.csv", pd.concat([table, broken]))
    judged_run.put(store, "ingest/there", documents.dataset("ingest/there", table=key))
    work = Work(hand_made.job(store), "external/1")
    found = scoring.external_table(work, "ingest/there")
    assert list(found["group"]) == [
        "patient_id:P",
        "patient_id:P",
        "lesion_id:L",
        "lesion_id:L",
        "image-0-4.jpg",
        "image-0-5.jpg",
        "patient_id:L",
    ]
