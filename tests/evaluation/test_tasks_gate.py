"""The step `gate`: who is compared with whom, on which images, at whose threshold."""

from __future__ import annotations

import json
from typing import Any

import documents
import hand_made
import judged_run
import numpy as np
import pandas as pd
import pytest
from hand_made import Drawn
from judged_run import CHAMPION, EVALUATION, SPLIT, VALIDATION, put

from skin_pipeline import intervals, tables
from skin_pipeline.contracts import RESULT, Scored, Verdict, dump
from skin_pipeline.evaluation import card, comparison, metrics, report, tasks
from skin_pipeline.evaluation.metrics import Predictions, Sample
from skin_pipeline.job import Work
from skin_pipeline.storage import FolderStore

OURS, THEIRS = 0.3, 0.6  # thresholds
OLDER = "evaluate/older"
EXCLUDED = 5


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Report and card have tests of their own."""
    monkeypatch.setattr(intervals, "RESAMPLES", 100)
    monkeypatch.setattr(report, "render", lambda *_: "a report")
    monkeypatch.setattr(card, "data", lambda *_: {"a": "card, für alle"})
    monkeypatch.setattr(card, "markdown", lambda told: f"# {told['a']}")


@pytest.fixture
def images() -> tuple[Drawn, Any]:
    """Test images of patients with several each, and what two models say of them."""
    made = hand_made.drawn(2, patients=80, models=2)
    return made, 1 / (1 + np.exp(-made.mean() / hand_made.SCALE))


@pytest.fixture
def rivals(store: FolderStore, images: tuple[Drawn, Any]) -> Any:
    """A challenger and a champion that knows some of the images, and so is scored on the others,
    in another order."""
    made, (ours, theirs) = images
    table = made.table[["key", "label", "group"]].assign(test=True, probability=ours)
    seen = np.random.default_rng(0).permutation(len(table))[EXCLUDED:]
    scored = made.table[["key", "label", "group"]].assign(probability=theirs).iloc[seen]
    tables.write(store, "theirs.csv", scored)
    challenger = documents.evaluation(
        dataset=judged_run.DATASET,
        split=SPLIT,
        runs=tuple(f"train/{run}" for run in range(6)),
        threshold=OURS,
        predictions=tables.write(store, "ours.csv", table),
    )
    put(store, EVALUATION, challenger)
    put(store, OLDER, documents.evaluation(threshold=THEIRS))
    put(store, VALIDATION, judged_run.validation(external={"clinic": "ingest/there"}))
    put(store, judged_run.DATASET, documents.dataset(judged_run.DATASET))
    put(store, SPLIT, judged_run._split())
    for run in range(6):
        features = tuple(f"features/{number}" for number in range(2))
        trained = judged_run.trained(run).model_copy(update={"features": features})
        put(store, f"train/{run}", trained)
    put(store, CHAMPION, champion())
    return seen


def champion(**changes: Any) -> Scored:
    usual = {
        "name": "v1",
        "dataset": judged_run.DATASET,
        "evaluation": OLDER,
        "images": 1,
        "excluded": EXCLUDED,
        "figures": documents.figures(),
        "predictions": "theirs.csv",
    }
    return Scored(**{**usual, **changes})


def put_instead(store: FolderStore, key: Any, document: Scored) -> None:
    """The store keeps what it has."""
    (store.root / key / RESULT).write_bytes(dump(document))


def write(
    store: FolderStore, *, champion: Any = CHAMPION, external: Any = (), **settings: Any
) -> Verdict:
    job = hand_made.job(store, **{"min_runs": 6, **settings})
    return tasks.gate(Work(job, "gate/1"), EVALUATION, VALIDATION, champion, external)


def test_both_are_compared_on_the_images_of_the_champion_each_at_its_own_threshold(
    store: FolderStore, images: tuple[Drawn, Any], rivals: Any
) -> None:
    made, (ours, theirs) = images
    labels, groups = made.labels[rivals], made.groups[rivals]
    sample = Sample(labels, groups, 5, (0.03, 0.2))
    expected = comparison.compare(
        Predictions(ours[rivals], OURS),
        Predictions(theirs[rivals], THEIRS),
        sample,
        version="v1",
        excluded=EXCLUDED,
    )
    seen = write(store, min_accuracy_change=-1.0).comparison
    assert seen == expected
    assert seen.images == len(made.table) - EXCLUDED
    assert seen.champion_figures == metrics.figures(Predictions(theirs[rivals], THEIRS), sample)


@pytest.mark.parametrize("changes", [{"seed": 6}, {"prevalences": "0.4"}])
def test_the_comparison_follows_the_run_s_own_settings(
    store: FolderStore, rivals: Any, changes: Any
) -> None:
    usual, other = write(store).comparison, write(store, **changes).comparison
    assert usual.auc.value == other.auc.value
    if "seed" in changes:
        assert usual.auc.low != other.auc.low
    else:
        assert [item.prevalence for item in other.champion_figures.predictive] == [0.4]


def test_the_gate_judges_the_change_that_was_compared(store: FolderStore, rivals: Any) -> None:
    seen = write(store, min_auc_change=-1.0, min_specificity_change=1.0)
    checks = {check.name: check for check in seen.checks}
    assert checks["change of AUC"].passed
    assert not checks["change of specificity"].passed
    assert checks["change of AUC"].value.startswith(f"{seen.comparison.auc.value:+.3f}")
    assert not seen.approved
    assert any(reason.startswith("change of specificity") for reason in seen.reasons)


def test_a_champion_that_was_scored_on_an_image_that_we_do_not_know_is_no_comparison(
    store: FolderStore, rivals: Any
) -> None:
    """Both must be judged on the same images: none is left out without a word."""
    scored = tables.read_scores(store, "theirs.csv")
    extra = pd.DataFrame([{**scored.iloc[0], "key": "unknown.jpg"}])
    tables.write(store, "more.csv", pd.concat([scored, extra]))
    put_instead(store, CHAMPION, champion(predictions="more.csv"))
    with pytest.raises(KeyError, match=r"unknown\.jpg"):
        write(store)


@pytest.mark.parametrize(
    ("changes", "passed"),
    [({"problem": "it is gone", "predictions": ""}, False), ({"evaluation": EVALUATION}, True)],
)
def test_who_cannot_be_compared_is_not(
    store: FolderStore, rivals: Any, changes: Any, passed: bool
) -> None:
    put_instead(store, CHAMPION, champion(**changes))
    seen = write(store)
    assert seen.comparison is None
    (check,) = [check for check in seen.checks if check.name == "champion"]
    assert check.passed == passed


def test_without_a_champion_there_is_no_comparison(store: FolderStore, rivals: Any) -> None:
    seen = write(store, champion="")
    assert (seen.champion, seen.comparison) == ("", None)


def test_every_check_must_pass_for_an_approval(store: FolderStore, rivals: Any) -> None:
    bounds = {"min_accuracy": 0.1, "min_sensitivity": 0.1, "min_auc_change": None}
    assert write(store, **bounds).approved
    refused = write(store, **{**bounds, "min_auc": 1.0})
    assert not refused.approved
    assert [check.name for check in refused.checks if not check.passed] == ["AUC"]
    assert len(refused.reasons) == 1


def test_sets_of_another_origin_are_judged(store: FolderStore, rivals: Any) -> None:
    for number, name in enumerate(("clinic", "phone"), 1):
        put(store, f"external/{name}", judged_run.scored(store, name, number))
    keys = ("external/clinic", "external/phone")
    seen = write(store, external=keys, min_external_auc=0.5)
    assert seen.external == keys
    assert {"AUC on clinic", "AUC on phone"} <= {check.name for check in seen.checks}


def test_the_verdict_says_from_what_it_was_made_and_where_its_pages_lie(
    store: FolderStore, rivals: Any
) -> None:
    seen = write(store, min_runs=4)
    assert (seen.evaluation, seen.validation, seen.champion) == (EVALUATION, VALIDATION, CHAMPION)
    assert seen.settings["min_runs"] == 4
    assert seen.released_as == "skin-resnet50"
    assert seen.judged_at == hand_made.job(store).moment
    assert store.read(seen.report) == b"a report"
    assert store.read(seen.card) == "# card, für alle".encode()
    assert json.loads(store.read(seen.card_data)) == {"a": "card, für alle"}
    assert set(seen.versions) == {"python", *tasks.PACKAGES}
