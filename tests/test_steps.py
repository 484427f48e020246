from __future__ import annotations

import dataclasses
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import documents
import hard_run
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from released import opened
from servers import S3Server

from skin_pipeline import journal, sharding, steps, tables
from skin_pipeline.config import Settings
from skin_pipeline.contracts import (
    LABELS,
    Check,
    Dataset,
    Evaluation,
    Features,
    Interval,
    Scored,
    Split,
    TrainedRun,
    Validation,
    Verdict,
    dump,
    load,
)
from skin_pipeline.data import demo, manifest, splitting
from skin_pipeline.data import tasks as data_tasks
from skin_pipeline.errors import BadInput, Rejected
from skin_pipeline.intervals import auc
from skin_pipeline.job import Job, Work
from skin_pipeline.model_file import trial
from skin_pipeline.release import tasks
from skin_pipeline.storage import FolderStore, S3Access, Store

if TYPE_CHECKING:
    from tests.conftest import Finished

HEAVY = (
    "boto3",
    "great_expectations",
    "kaggle",
    "keras",
    "pandas",
    "scipy",
    "sklearn",
    "tensorflow",
)


def with_settings(job: Any, **changes: Any) -> Any:
    """The same job with other knobs."""
    values = {**job.settings.model_dump(), **changes}
    return dataclasses.replace(job, settings=Settings(**values))


# --- what a whole run leaves behind --------------------------------------------------------------


def test_the_manifest_has_a_row_for_every_image(finished: Finished) -> None:
    dataset = load(finished.job.store, finished.dataset, Dataset)
    table = manifest.read(finished.job.store, dataset.table)
    assert len(table) == 2 * demo.PER_CLASS
    assert dataset.classes == {"benign": demo.PER_CLASS, "malignant": demo.PER_CLASS}
    assert dataset.synthetic


def test_the_figures_can_be_recomputed_from_the_predictions(finished: Finished) -> None:
    store = finished.job.store
    seen = load(store, finished.evaluation, Evaluation)
    table = pd.read_csv(store.local(seen.predictions))
    test = table[table["test"]]
    called = test["probability"] >= seen.threshold
    assert seen.ensemble.accuracy.value == (called == (test["label"] == "malignant")).mean()
    assert seen.ensemble.images == len(test)


def test_predictions_of_the_test_set_come_from_groups_that_no_run_trained_on(
    finished: Finished,
) -> None:
    table = manifest.read(finished.job.store, load(finished.job.store, finished.split, Split).table)
    test = set(table["group"][table["run_0"] == "test"])
    for run in ("run_0", "run_1"):
        assert not test & set(table["group"][table[run].isin(["train", "validation"])])


def test_each_run_has_its_seed_and_history_on_record(finished: Finished) -> None:
    runs = [load(finished.job.store, key, TrainedRun) for key in finished.trained]
    assert [run.run for run in runs] == [0, 1]
    assert runs[0].seed != runs[1].seed
    assert all(run.history for run in runs)


def test_the_data_docs_are_kept_with_the_run(finished: Finished) -> None:
    results = (
        load(finished.job.store, finished.validation, Validation),
        load(finished.job.store, finished.split, Split),
    )
    for docs in (result.docs for result in results):
        assert b"<html" in finished.job.store.read(docs)


def test_the_released_version_is_complete_and_its_digests_are_right(finished: Finished) -> None:
    store = finished.job.store
    champion = opened(store, name="skin-resnet50-synthetic").champion
    release = opened(store, name=champion.model).release(champion.version)
    assert set(release.files) == {
        "model.keras",
        "familiarity.npz",
        "metrics.json",
        "predictions.csv",
        "verdict.json",
        "report.html",
        "card.md",
        "card.json",
    }
    for name, digest in release.files.items():
        assert hashlib.sha256(store.read(f"{finished.version}/{name}")).hexdigest() == digest


def test_the_report_says_that_the_data_are_synthetic(finished: Finished) -> None:
    verdict = load(finished.job.store, finished.verdict, Verdict)
    page = finished.job.store.read(verdict.report).decode()
    assert "Synthetic data" in page
    assert "http" not in page  # it opens offline


# --- done once, found afterwards -----------------------------------------------------------------


def test_every_step_finds_its_result(finished: Finished) -> None:
    job = finished.job
    before = job.store.list("")
    dataset, weights, external = steps.ingest(job)
    weights = steps.engine(job, dataset, weights)
    validation = steps.validate(job, dataset, external)
    split = steps.split(job, validation)
    shards = sharding.numbers(job, dataset)
    assert [steps.features(job, split, weights, i) for i in shards] == finished.features
    index = steps.index(job, finished.features)
    assert index == finished.index
    assert [steps.train(job, split, index, i) for i in range(2)] == finished.trained
    assert steps.evaluate(job, split, reversed(finished.trained), validation) == finished.evaluation
    assert steps.gate(job, finished.evaluation, validation) == finished.verdict
    assert steps.promote(job, finished.verdict) == finished.version
    assert job.store.list("") == before


def test_finding_a_result_imports_nothing_heavy(finished: Finished) -> None:
    code = f"""
import sys
from skin_pipeline import sharding, steps
from skin_pipeline.config import Deployment, Settings
from skin_pipeline.job import Job
from skin_pipeline.storage import open_store
job = Job(Settings(**{finished.job.settings.model_dump()!r}), Deployment(), open_store(
    {finished.job.store.url!r}))
dataset, weights, external = steps.ingest(job)
weights = steps.engine(job, dataset, weights)
validation = steps.validate(job, dataset, external)
split = steps.split(job, validation)
features = [steps.features(job, split, weights, i) for i in sharding.numbers(job, dataset)]
index = steps.index(job, features)
trained = [steps.train(job, split, index, run) for run in range(2)]
steps.promote(job, steps.gate(job, steps.evaluate(job, split, trained, validation), validation))
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    assert run.stdout.strip() == "[]"


# --- on drawings that are hard to tell apart, where a fault shows --------------------------------


def logits_of(hard: hard_run.Hard, views: int) -> Any:
    """Logits (runs, n) of every readable image, from what the steps of features and training left:
    the head of each run by hand."""
    store, parts = hard.job.store, []
    for key in hard.features:
        document = load(store, key, Features)
        blocks = [np.load(store.local(block)) for block in document.blocks["pooled"]]
        places = np.load(store.local(document.places["pooled"]))[:views]
        parts.append(np.array([[blocks[block][row] for block, row in view] for view in places]))
    features, logits = np.concatenate(parts, axis=1), []
    for key in hard.trained:
        weights = np.load(store.local(load(store, key, TrainedRun).weights))
        mean, variance, kernel, bias = (weights[name] for name in sorted(weights.files))
        logits.append((((features - mean) / np.sqrt(variance)) @ kernel + bias)[..., 0].mean(0))
    return np.array(logits)


@pytest.fixture(scope="module")
def sides(hard: hard_run.Hard) -> Any:
    return manifest.read_readable(hard.job.store, load(hard.job.store, hard.split, Split).table)


def test_every_run_keeps_its_best_epoch_and_scores_its_own_validation_images(
    hard: hard_run.Hard, sides: Any
) -> None:
    logits = logits_of(hard, views=1)
    for number, key in enumerate(hard.trained):
        run = load(hard.job.store, key, TrainedRun)
        rows = np.flatnonzero(sides[f"run_{run.run}"] == "validation")
        held_out = np.load(hard.job.store.local(run.held_out))
        np.testing.assert_allclose(held_out, logits[number, rows], rtol=1e-3, atol=1e-3)
        labels = manifest.labels(sides)[rows]
        best = max(line.validation_auc for line in run.history)
        assert auc(held_out.astype(float), labels) == pytest.approx(best)
        assert best > run.history[-1].validation_auc


def test_every_run_learns_from_its_own_training_images(hard: hard_run.Hard, sides: Any) -> None:
    """What a run knows by heart are the images on its own side, and not another run's."""
    logits, labels = logits_of(hard, views=1), manifest.labels(sides)
    for number, scores in enumerate(logits.astype(float)):
        mine = (sides[f"run_{number}"] == "train").to_numpy()
        elsewhere = sides[[f"run_{other}" for other in range(3) if other != number]]
        theirs = ~mine & (elsewhere == "train").any(axis=1).to_numpy()
        assert auc(scores[mine], labels[mine]) > auc(scores[theirs], labels[theirs]) + 0.04


def test_the_ensemble_is_the_mean_of_its_runs_over_all_views_and_calibrated(
    hard: hard_run.Hard, sides: Any
) -> None:
    seen = load(hard.job.store, hard.evaluation, Evaluation)
    table = tables.read_scores(hard.job.store, seen.predictions)
    assert list(table["key"]) == list(sides["key"])
    test = table["test"].to_numpy(bool)
    assert list(test) == list(sides["run_0"] == "test")
    logits = logits_of(hard, views=4).mean(0)  # two views of both squares
    expected = 1 / (1 + np.exp(-logits / seen.calibration.temperature))
    np.testing.assert_allclose(table["probability"][test], expected[test], atol=1e-3)
    assert seen.calibration.temperature > 1.5


# --- from elsewhere, and from before -------------------------------------------------------------


def test_images_from_an_s3_prefix_are_the_same_data_set_as_from_a_folder(
    make_job: Callable[..., Job], folder: Path, s3_server: S3Server, s3_store: Store
) -> None:
    for path in filter(Path.is_file, folder.rglob("*")):
        s3_store.put_file(path.relative_to(folder).as_posix(), path)
    access = S3Access(s3_server.endpoint, s3_server.credentials)
    job = make_job(data=s3_store.url, weights="imagenet")
    job = dataclasses.replace(job, data_access=lambda: access)
    dataset = steps.ingest(job).dataset
    assert steps.ingest(with_settings(job, data=str(folder))).dataset == dataset


def test_what_changed_is_told_and_no_old_image_changes_its_side(
    make_job: Callable[..., Job], tmp_path: Path
) -> None:
    demo.generate(tmp_path / "set", seed=0, per_class=60)
    job = make_job(data=str(tmp_path / "set"), weights="imagenet")

    def run() -> tuple[Any, Any]:
        validation = steps.validate(job, steps.ingest(job).dataset)
        split = load(job.store, steps.split(job, validation), Split)
        table = manifest.read(job.store, split.table).set_index("sha256")
        return load(job.store, validation, Validation), table

    first, before = run()
    assert (first.changes.previous, first.changes.added) == (None, 120)
    demo.generate(tmp_path / "more", seed=1, per_class=20)
    for path in (tmp_path / "more").rglob("*.jpg"):
        path.rename(tmp_path / "set" / path.parent.name / f"new_{path.name}")
    (tmp_path / "set/benign/DEMO_B0007.jpg").unlink()
    second, after = run()
    assert (second.changes.added, second.changes.removed) == (40, 1)
    assert "removed: benign/DEMO_B0007.jpg" in second.changes.examples
    both = before.index.intersection(after.index)
    assert len(both) == 119
    assert ((before["run_0"] == "test")[both] == (after["run_0"] == "test")[both]).all()


def test_duplicates_with_both_labels_are_refused_with_a_list(
    make_job: Callable[..., Job], folder: Path
) -> None:
    with Image.open(folder / "benign/DEMO_B0001.jpg") as image:
        image.transpose(Image.Transpose.ROTATE_90).save(folder / "malignant/turned.png")
    job = make_job(data=str(folder), weights="imagenet")
    dataset = steps.ingest(job).dataset
    with pytest.raises(BadInput, match=r"duplicates have one label: 1 found .*turned\.png"):
        steps.validate(job, dataset)
    assert not job.store.list("datasets")  # what was refused is no data set to compare with


# --- refusal -------------------------------------------------------------------------------------


def test_a_refused_model_is_recorded_and_the_champion_stays(finished: Finished) -> None:
    job = with_settings(finished.job, min_accuracy=1.0)
    before = opened(job.store, name="skin-resnet50-synthetic").champion
    key = steps.gate(job, finished.evaluation, finished.validation)
    verdict = load(job.store, key, Verdict)
    assert not verdict.approved
    assert verdict.reasons[0].startswith("accuracy: ")
    with pytest.raises(Rejected, match="accuracy"):
        steps.promote(job, key)
    steps.reject(job, key)
    assert opened(job.store, name="skin-resnet50-synthetic").champion == before
    assert any(
        not item.approved for item in opened(job.store, name=verdict.released_as).judgements()
    )


def test_a_missing_run_is_counted_by_the_gate(finished: Finished) -> None:
    evaluation = steps.evaluate(
        finished.job, finished.split, finished.trained[:1], finished.validation
    )
    verdict = load(
        finished.job.store, steps.gate(finished.job, evaluation, finished.validation), Verdict
    )
    assert verdict.reasons == ("successful runs: 1, required at least 2",)


def test_no_run_at_all_is_told(finished: Finished) -> None:
    with pytest.raises(BadInput, match="no training run succeeded"):
        steps.evaluate(finished.job, finished.split, [], finished.validation)
    with pytest.raises(BadInput, match="no training run succeeded"):
        steps.logits(finished.job, finished.split, [], [0])


# --- one model, one judgement ---------------------------------------------------------------------

MODEL = "skin-resnet50-synthetic"


@pytest.fixture
def again(finished: Finished, tmp_path: Path) -> Callable[..., Any]:
    """Makes a later run on the data and models of the finished one, in a store of its own."""
    store = FolderStore(tmp_path / "store")
    shutil.copytree(finished.root, store.root)

    judged_at = load(store, finished.verdict, Verdict).judged_at
    first = datetime.strptime(judged_at, "%Y-%m-%dT%H:%M:%S%z")

    def make(run: str = "next week", days: int = 7, **changes: Any) -> Any:
        started = first + timedelta(days=days)
        job = dataclasses.replace(finished.job, store=store, run_id=run, started=started)
        return with_settings(job, **changes)

    return make


def judge_and_conclude(job: Any, finished: Finished) -> str:
    """What a run does after its evaluation; the verdict's key."""
    theirs = steps.champion(job, finished.split)
    key = steps.gate(job, finished.evaluation, finished.validation, theirs)
    approved = load(job.store, key, Verdict).approved
    (steps.promote if approved else steps.reject)(job, key)
    return key


def test_a_repeated_run_finds_the_verdict_and_adds_no_judgement(
    finished: Finished, again: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    job = again()
    before = opened(job.store, name=MODEL).judgements(), opened(job.store, name=MODEL).champion
    caplog.set_level("INFO")
    assert judge_and_conclude(job, finished) == finished.verdict
    assert (
        opened(job.store, name=MODEL).judgements(),
        opened(job.store, name=MODEL).champion,
    ) == before
    assert f"nothing_changed model={MODEL}" in caplog.text
    assert journal.changed_nothing(job.store, "next week")
    assert not journal.changed_nothing(job.store, "another run")


def test_the_champion_under_other_bounds_is_judged_against_the_one_before_it(
    finished: Finished, again: Callable[..., Any]
) -> None:
    """Not against itself; and a version has one judgement, however often it is approved."""
    job = again(min_accuracy=0.4)
    before = opened(job.store, name=MODEL).judgements()
    key = judge_and_conclude(job, finished)
    assert key != finished.verdict
    verdict = load(job.store, key, Verdict)
    assert verdict.champion == load(job.store, finished.verdict, Verdict).champion
    assert not [check for check in verdict.checks if "already" in check.value]
    assert opened(job.store, name=MODEL).judgements() == before
    assert journal.changed_nothing(job.store, "next week")


def test_the_champion_that_misses_new_bounds_is_refused_once_however_often_it_runs(
    finished: Finished, again: Callable[..., Any]
) -> None:
    before = len(opened(again().store, name=MODEL).judgements())
    for run, days in (("first", 7), ("second", 14), ("third", 21)):
        job = again(run, days, min_accuracy=0.999)
        judge_and_conclude(job, finished)
        assert journal.changed_nothing(job.store, run) == (run != "first")
    latest, *_ = judged = opened(job.store, name=MODEL).judgements()
    assert len(judged) == before + 1
    assert (latest.run, latest.approved) == ("first", False)


def test_a_try_that_was_stopped_before_the_judgement_was_kept_is_completed(
    finished: Finished, again: Callable[..., Any]
) -> None:
    job = again(finished.job.run_id, days=0)
    for key in job.store.list(f"models/{MODEL}/judged"):
        job.store.remove(key)
    steps.promote(job, finished.verdict)
    (kept,) = opened(job.store, name=MODEL).judgements()
    assert kept.version
    assert finished.version.endswith(kept.version)
    assert not journal.changed_nothing(job.store, job.run_id)


# --- the champion, and sets of another origin ----------------------------------------------------


@pytest.fixture
def later(finished: Finished) -> Callable[..., Any]:
    """Keys of a second run on other test images, made with the store in which the first one was
    promoted."""

    def make(**changes: Any) -> tuple[Any, str]:
        job = with_settings(finished.job, **changes)
        dataset = steps.ingest(job).dataset
        split = steps.split(job, steps.validate(job, dataset))
        return job, split

    return make


def test_a_champion_on_the_test_set_that_it_was_judged_on_has_the_same_figures(
    finished: Finished,
) -> None:
    scored = load(finished.job.store, steps.champion(finished.job, finished.split), Scored)
    judged = load(finished.job.store, finished.evaluation, Evaluation)
    assert scored.name == finished.version.rsplit("/", 1)[1]
    assert (scored.excluded, scored.images) == (0, judged.ensemble.images)
    assert scored.figures == judged.ensemble


def test_without_a_champion_there_is_nothing_to_score(finished: Finished) -> None:
    job = with_settings(finished.job, model_name="nobody")
    assert steps.champion(job, finished.split) == ""


def test_test_images_that_the_champion_was_trained_on_are_left_out_and_counted(
    finished: Finished, later: Callable[..., Any]
) -> None:
    job, split = later(test_fraction=0.4)
    scored = load(job.store, steps.champion(job, split), Scored)
    table = manifest.read(job.store, load(job.store, split, Split).table)
    before = manifest.read(job.store, load(job.store, finished.split, Split).table)
    tested = set(table.loc[table["run_0"] == "test", "key"])
    seen = set(manifest.read(job.store, scored.predictions)["key"])
    assert scored.excluded > 0
    assert scored.images + scored.excluded == len(tested)
    trained = before[before[["run_0", "run_1"]].isin(["train", "validation"]).any(axis=1)]
    assert seen == tested - set(trained["key"])


def test_a_champion_that_saw_images_in_another_way_cannot_be_scored_and_the_gate_says_so(
    finished: Finished, later: Callable[..., Any]
) -> None:
    job, split = later(field_of_view=0.9)
    key = steps.champion(job, split)
    scored = load(job.store, key, Scored)
    assert scored.figures is None
    assert scored.problem == "its field_of_view is 0.8, that of the images here 0.9"
    # Another model than the champion's own, so that only the problem stands against comparing it.
    other = steps.evaluate(finished.job, finished.split, finished.trained[:1], finished.validation)
    verdict = load(job.store, steps.gate(job, other, finished.validation, key), Verdict)
    assert verdict.comparison is None
    (check,) = [check for check in verdict.checks if check.name == "champion"]
    assert (check.passed, check.value) == (False, scored.problem)


def test_a_second_model_is_compared_with_the_champion_on_the_same_images(
    finished: Finished,
) -> None:
    job = with_settings(finished.job, seed=1, l2=10.0, min_auc_change=-1.0)
    split = steps.split(job, finished.validation)
    trained = [steps.train(job, split, finished.index, run) for run in range(2)]
    evaluation = steps.evaluate(job, split, trained, finished.validation)
    key = steps.gate(job, evaluation, finished.validation, steps.champion(job, split))
    verdict = load(job.store, key, Verdict)
    seen = verdict.comparison
    ours = load(job.store, evaluation, Evaluation).ensemble
    theirs = load(job.store, finished.evaluation, Evaluation).ensemble
    assert seen.images == ours.images
    assert seen.auc.value == pytest.approx(ours.auc.value - theirs.auc.value)
    assert seen.accuracy.value == pytest.approx(ours.accuracy.value - theirs.accuracy.value)


@pytest.fixture
def raced(finished: Finished, tmp_path: Path) -> Callable[..., Any]:
    """A store in which a second model was approved when there was no champion; and now there is."""
    store = FolderStore(tmp_path / "store")
    shutil.copytree(finished.root, store.root)
    job = dataclasses.replace(finished.job, store=store)

    def verdict(**bounds: Any) -> tuple[Any, str]:
        changed = with_settings(job, seed=1, l2=10.0, **bounds)
        split = steps.split(changed, finished.validation)
        trained = [steps.train(changed, split, finished.index, run) for run in range(2)]
        evaluation = steps.evaluate(changed, split, trained, finished.validation)
        return changed, steps.gate(changed, evaluation, finished.validation)

    return verdict


def test_who_loses_a_race_is_judged_again_against_the_new_champion(
    finished: Finished, raced: Callable[..., Any]
) -> None:
    job, key = raced(min_auc_change=-1.0, min_accuracy=0.0, min_sensitivity=0.0)
    assert load(job.store, key, Verdict).approved
    version = steps.promote(job, key)
    champion = opened(job.store, name="skin-resnet50-synthetic").champion
    assert version.endswith(champion.version)
    assert champion.previous == finished.version.rsplit("/", 1)[1]
    release = opened(job.store, name=champion.model).release(champion.version)
    assert load(job.store, release.verdict, Verdict).comparison.champion == champion.previous
    steps.promote(job, key)  # cleared, or tried again
    assert opened(job.store, name="skin-resnet50-synthetic").champion == champion


def test_who_loses_a_race_and_is_no_better_than_the_new_champion_is_refused(
    finished: Finished, raced: Callable[..., Any]
) -> None:
    job, key = raced(min_auc_change=1.0, min_accuracy=0.0, min_sensitivity=0.0)
    assert load(job.store, key, Verdict).approved
    before = opened(job.store, name="skin-resnet50-synthetic").champion
    with pytest.raises(Rejected, match="change of AUC"):
        steps.promote(job, key)
    assert opened(job.store, name="skin-resnet50-synthetic").champion == before
    judged = opened(job.store, name="skin-resnet50-synthetic").judgements()
    reasons = [reason for item in judged if not item.approved for reason in item.reasons]
    assert any(reason.startswith("change of AUC: ") for reason in reasons)


def test_a_model_that_says_another_thing_than_was_recorded_is_not_published(
    finished: Finished, raced: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, key = raced(min_auc_change=-1.0, min_accuracy=0.0, min_sensitivity=0.0)
    model = "skin-resnet50-synthetic"
    before = opened(job.store, name=model).champion, opened(job.store, name=model).versions()
    monkeypatch.setattr(trial, "ask", lambda _, images, **how: dict.fromkeys(images, 2.0))
    with pytest.raises(BadInput, match=r"a probability of 2\.0000 where evaluate recorded 0\."):
        steps.promote(job, key)
    assert (
        opened(job.store, name=model).champion,
        opened(job.store, name=model).versions(),
    ) == before


def test_an_external_set_is_scored_without_the_images_that_our_data_holds(
    finished: Finished, tmp_path: Path
) -> None:
    demo.generate(tmp_path / "other", seed=5, per_class=20)
    ours = tmp_path / "ours"
    demo.generate(ours, seed=0)
    stolen = sorted((ours / "benign").iterdir())[:3]
    for path in stolen:
        shutil.copy(path, tmp_path / "other/benign" / f"stolen_{path.name}")
    job = with_settings(finished.job, external=f"other={tmp_path / 'other'}")
    dataset, _, external = steps.ingest(job)
    validation = steps.validate(job, dataset, external)
    (key,) = steps.external(job, finished.evaluation, validation)
    scored = load(job.store, key, Scored)
    assert (scored.name, scored.excluded, scored.images) == ("other", 3, 40)
    assert scored.figures.images == 40
    rows = manifest.read(job.store, scored.predictions)
    assert not rows["key"].str.contains("stolen").any()
    verdict = load(
        job.store,
        steps.gate(
            with_settings(job, min_external_auc=1.0, judged_on="lower_bound"),
            finished.evaluation,
            validation,
            external=[key],
        ),
        Verdict,
    )
    assert any("other" in reason for reason in verdict.reasons)


def test_a_model_of_shuffled_labels_is_no_better_than_a_coin_and_refused(
    make_job: Callable[..., Job], tmp_path: Path
) -> None:
    demo.generate(tmp_path / "set", seed=0, per_class=60)
    for number, path in enumerate(sorted((tmp_path / "set").rglob("*.jpg"))):
        path.rename(tmp_path / "set" / LABELS[number % 2] / f"shuffled_{number}.jpg")
    (tmp_path / "set" / "metadata.csv").unlink(missing_ok=True)
    hard_run.random_weights(tmp_path / "random.weights.h5")
    job = make_job(data=str(tmp_path / "set"), weights=str(tmp_path / "random.weights.h5"))
    dataset, weights, _ = steps.ingest(job)
    validation = steps.validate(job, dataset)
    split = steps.split(job, validation)
    features = [steps.features(job, split, weights, i) for i in sharding.numbers(job, dataset)]
    index = steps.index(job, features)
    trained = [steps.train(job, split, index, run) for run in range(2)]
    evaluation = steps.evaluate(job, split, trained, validation)
    auc = load(job.store, evaluation, Evaluation).ensemble.auc
    assert auc.low < 0.5 < auc.high
    verdict = load(job.store, steps.gate(job, evaluation, validation), Verdict)
    assert not verdict.approved
    assert verdict.reasons[0].startswith("accuracy: ")


def test_what_each_step_took_is_in_the_verdict(finished: Finished) -> None:
    verdict = load(finished.job.store, finished.verdict, Verdict)
    spent = {"ingest", "validate", "split", "features", "train", "logits", "evaluate"}
    assert set(verdict.seconds) == spent
    assert all(value >= 0 for value in verdict.seconds.values())
    assert verdict.seconds["train"] > 0


def test_report_and_card_lie_beside_the_verdict_and_in_the_version(finished: Finished) -> None:
    store = finished.job.store
    verdict = load(store, finished.verdict, Verdict)
    assert b"not a medical device" in store.read(verdict.report)
    for name, key in {"card.md": verdict.card, "card.json": verdict.card_data}.items():
        assert store.read(f"{finished.version}/{name}") == store.read(key)


# --- bad input -----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    demo.generate(tmp_path / "set", seed=0, per_class=12)
    return tmp_path / "set"


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def one_class(folder: Path) -> None:
    shutil.rmtree(folder / "benign")


def absent(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (empty, "no images of class benign and malignant"),
        (one_class, "no images of class benign"),
        (absent, "there is nothing at"),
    ],
)
def test_a_folder_without_the_images_is_told_and_nothing_is_written(
    make_job: Callable[..., Job], folder: Path, spoil: Callable[..., Any], message: str
) -> None:
    spoil(folder)
    job = make_job(data=str(folder), weights="imagenet")
    with pytest.raises(BadInput, match=message):
        steps.ingest(job)
    assert job.store.list("") == []


def test_a_broken_zip_is_told_and_nothing_is_written(
    make_job: Callable[..., Job], tmp_path: Path
) -> None:
    path = tmp_path / "images.zip"
    path.write_bytes(b"PK\x03\x04 and no more")
    job = make_job(data=str(path), weights="imagenet")
    with pytest.raises(BadInput, match=r"images\.zip"):
        steps.ingest(job)
    assert job.store.list("") == []


@pytest.mark.parametrize(("masks", "images"), [("warn", 26), ("leave_out", 24)])
def test_masks_are_told_and_left_out_where_asked(
    make_job: Callable[..., Job], folder: Path, masks: str, images: int
) -> None:
    lesion = next((folder / "benign").iterdir())
    shutil.copy(lesion, folder / "benign" / f"000_mask{lesion.suffix}")
    shutil.copy(lesion, folder / "malignant" / f"000_overlay{lesion.suffix}")
    last = sorted((folder / "malignant").iterdir())[-1]
    (folder / "metadata.csv").write_text(
        "image,patient_id\n" + "".join(f"{p.stem},p-{p.stem}\n" for p in folder.rglob("*.*"))
    )
    job = make_job(data=str(folder), masks=masks, weights="imagenet")
    dataset = load(job.store, steps.ingest(job).dataset, Dataset)
    table = manifest.read(job.store, dataset.table)
    assert (len(table), sum(dataset.classes.values())) == (images, images)
    assert [(n.kind, n.count) for n in dataset.notices] == [("looks_like_mask", 2)]
    assert (table["patient_id"] == "p-" + table["image_id"]).all()
    assert table["key"].iloc[-1] == f"malignant/{last.name}"


def test_a_corrupt_image_is_named_when_there_are_too_many(
    make_job: Callable[..., Job], folder: Path
) -> None:
    (folder / "benign" / "DEMO_B0003.jpg").write_bytes(b"\xff\xd8\xff broken")
    job = make_job(data=str(folder), weights="imagenet")
    dataset = steps.ingest(job).dataset
    with pytest.raises(BadInput, match=r"1 quarantined: DEMO_B0003\.jpg: cannot identify"):
        steps.validate(job, dataset)


def test_a_corrupt_image_within_the_share_is_left_out_of_every_side(
    make_job: Callable[..., Job], tmp_path: Path
) -> None:
    demo.generate(tmp_path / "set", seed=0, per_class=60)
    (tmp_path / "set/benign/DEMO_B0003.jpg").write_bytes(b"\xff\xd8\xff broken")
    job = make_job(data=str(tmp_path / "set"), weights="imagenet", max_unreadable=0.05)
    split = steps.split(job, steps.validate(job, steps.ingest(job).dataset))
    table = manifest.read(job.store, load(job.store, split, Split).table)
    row = table[table["key"] == "benign/DEMO_B0003.jpg"].iloc[0]
    assert (row["run_0"], row["run_1"]) == ("unused", "unused")


def test_a_split_that_leaks_is_refused_each_time_and_says_what_leaks(
    make_job: Callable[..., Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image of a test patient is trained on, as a mistake in splitting would have it."""
    sound = splitting.split

    def leaky(table: Any, **knobs: Any) -> Any:
        made = sound(table, **knobs)
        groups = made.loc[made["run_1"] == "test", "group"].value_counts()
        assert groups.iloc[0] > 1
        made.loc[made.index[made["group"] == groups.index[0]][0], ["run_0", "run_1"]] = "train"
        return made

    demo.generate(tmp_path / "set", seed=0, per_class=60)
    job = make_job(data=str(tmp_path / "set"), weights="imagenet")
    validation = steps.validate(job, steps.ingest(job).dataset)
    monkeypatch.setattr(splitting, "split", leaky)
    for _ in range(2):  # the second time it is found in the store
        with pytest.raises(BadInput) as error:
            steps.split(job, validation)
        said = str(error.value)
        assert said.startswith("the split is not fit for training: ")
        assert "no group on two sides of a run" in said
        assert "no patient on two sides of a run" in said


@pytest.mark.parametrize(
    ("severity", "passed", "refused"),
    [
        ("critical", False, True),
        ("critical", True, False),
        ("warning", False, False),
        ("warning", True, False),
    ],
)
def test_only_a_critical_check_that_failed_refuses_a_split(
    make_job: Callable[..., Job],
    monkeypatch: pytest.MonkeyPatch,
    severity: str,
    passed: bool,
    refused: bool,
) -> None:
    job = make_job()
    job.store.put("validate/1/result.json", dump(documents.validation("validate/1", "ingest/1")))
    check = Check(name="sides", severity=severity, observed="2 off", bound="none", passed=passed)
    made = Split(
        dataset="ingest/1",
        table="",
        runs=2,
        counts={},
        stratification={},
        checks=(check,),
        docs="",
    )
    monkeypatch.setattr(data_tasks, "split", lambda *about: made)
    if refused:
        with pytest.raises(BadInput, match="sides: 2 off"):
            steps.split(job, "validate/1")
    else:
        assert load(job.store, steps.split(job, "validate/1"), Split) == made


def test_a_refused_data_set_is_refused_again(make_job: Callable[..., Job], folder: Path) -> None:
    job = make_job(data=str(folder), weights="imagenet", min_per_class=50)
    dataset = steps.ingest(job).dataset
    for _ in range(2):
        with pytest.raises(BadInput, match=r"readable benign images: 12, required at least 50"):
            steps.validate(job, dataset)
    # The run's pages show what is wrong with the data, of a run that failed too.
    noted = journal.of_run(job.store, job.run_id).validation
    assert not all(check.passed for check in load(job.store, noted, Validation).checks)


def test_data_docs_keep_their_folders(make_job: Callable[..., Job], tmp_path: Path) -> None:
    job = make_job()
    for name in ("index.html", "one/page.html", "two/page.html"):
        (tmp_path / "docs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "docs" / name).write_text(name)
    work = Work(job, "validate/1")
    assert work.put_folder("docs", tmp_path / "docs") == "validate/1/docs"
    for name in ("index.html", "one/page.html", "two/page.html"):
        assert job.store.read(f"validate/1/docs/{name}") == name.encode()


@pytest.mark.parametrize("version", ["v1", None])
def test_a_judgement_tells_of_its_run_and_of_the_moment_of_its_verdict(
    make_job: Callable[..., Job], version: str | None
) -> None:
    job = dataclasses.replace(make_job(), run_id="manual__1")
    figures = documents.figures(
        accuracy=Interval(value=0.1, low=0, high=1),
        sensitivity=Interval(value=0.2, low=0, high=1),
        auc=Interval(value=0.3, low=0, high=1),
    )
    made = documents.evaluation(ensemble=figures)
    job.store.put("evaluate/1/result.json", dump(made))
    job.store.put("validate/1/result.json", dump(documents.validation("validate/1", "ingest/1")))
    verdict = documents.verdict(approved=version is not None, reasons=("why",), report="r.html")
    judged = tasks._judgement(job, verdict, version)
    assert (judged.run, judged.judged_at) == ("manual__1", verdict.judged_at)
    assert (judged.approved, judged.version) == (version is not None, version)
    assert (judged.model, judged.reasons, judged.report) == ("skin-resnet50", ("why",), "r.html")
    assert judged.docs == "validate/1/docs/index.html"
    values = (judged.accuracy.value, judged.sensitivity.value, judged.auc.value)
    assert values == pytest.approx((0.1, 0.2, 0.3))


def test_a_key_that_cannot_sign_is_found_before_anything_else_is_read(
    make_job: Callable[..., Job], tmp_path: Path
) -> None:
    job = make_job()
    deployment = job.deployment.model_copy(update={"signing_key": str(tmp_path / "nowhere.pem")})
    with pytest.raises(BadInput, match=r"nowhere\.pem"):
        steps.promote(dataclasses.replace(job, deployment=deployment), "gate/nowhere")


def test_a_step_that_is_cut_short_leaves_no_result(
    make_job: Callable[..., Job], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(data=str(folder), weights="imagenet")

    def cut(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(manifest, "golden", cut)
    with pytest.raises(KeyboardInterrupt):
        steps.ingest(job)
    assert not [key for key in job.store.list("") if key.endswith("result.json")]
    monkeypatch.undo()
    assert steps.ingest(job).dataset
