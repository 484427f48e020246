"""The last line of each task: its result in words."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from skin_pipeline.contracts import NearDuplicates, ScoringPlan, Verdict, dump, load
from skin_pipeline.operations.results import WORDS, in_words
from skin_pipeline.storage import FolderStore

if TYPE_CHECKING:
    from tests.conftest import Finished

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("step", "value", "words"),
    [
        ("ingest", "dataset", r"[\d,]+ images \(\d+ benign, \d+ malignant\)"),
        ("validate", "validation", r"\d+ checks of the images, (no warning|\d+ warnings: .+)"),
        ("split", "split", r"2 runs; images of the first: .*\d+ test.*"),
        ("evaluate", "evaluation", r"accuracy 0\.\d+ \[.+\], sensitivity .+, AUC .+ on \d+ .+"),
        ("gate", "verdict", r"approved"),
    ],
)
def test_a_result_is_said_in_words(finished: Finished, step: str, value: str, words: str) -> None:
    key: Any = getattr(finished, value)
    several = {
        "ingest": {"dataset": key, "external": {}},
        "evaluate": {"evaluation": key, "parts": []},
    }
    given = several.get(step, key)
    assert re.fullmatch(words, in_words(finished.job.store, step, given))


def test_a_run_says_its_best_epoch(finished: Finished) -> None:
    said = [in_words(finished.job.store, "train", key) for key in finished.trained]
    words = r"run \d: validation AUC 0\.\d{3} in epoch \d+ of \w+"
    assert all(re.fullmatch(words, one) for one in said)
    assert len(set(said)) == 2


def test_a_promotion_names_model_and_version(finished: Finished) -> None:
    name = load(finished.job.store, finished.verdict, Verdict).released_as
    said = in_words(finished.job.store, "promote", finished.version)
    assert said == f"the champion of {name} is version {finished.version.split('/')[-1]}"


@pytest.mark.parametrize(
    ("step", "value", "words"),
    [
        ("champion", "", "there is no champion yet"),
        ("external", [], "there are no external sets"),
        ("runs", [0, 1], "2 runs"),
        ("listing", [], "no set is large"),
        (
            "listing",
            [[["", "l", "0"], ["", "l", "1"]], [["a", "m", "0"]]],
            "3 ranges of images in 2 tasks",
        ),
        ("engine", "imagenet", "the network is computed by tensorflow"),
        (
            "engine",
            "openvino:bfloat16:weights/1.h5",
            "the network is computed by openvino in bfloat16",
        ),
        ("shards", [[0, 1], [2]], "3 shards in 2 tasks"),
        ("parts", [], "so few images that `evaluate` scores them by itself"),
        ("parts", [[[0], [1, 2]], [[3]]], "3 parts in 2 tasks"),
        ("logits", ["a", "b"], "2 parts of the images are scored"),
        ("external_logits", ["a", "b"], "2 parts of the images are scored"),
        ("features", ["a", "b"], "activations of 2 shards are in the cache"),
        ("chunks", ["a", "b"], "2 chunks"),
        ("merge", "40 images scored", "40 images scored"),
        ("other", "x", ""),
    ],
)
def test_small_results_have_words_too(
    store: FolderStore, step: str, value: Any, words: str
) -> None:
    assert in_words(store, step, value) == words


def test_duplicates_are_counted_over_the_buckets_of_a_task(store: FolderStore) -> None:
    for number, count in enumerate((0, 1200)):
        found = NearDuplicates(ours="a", theirs="a", number=number, count=count, pairs="")
        store.put(f"duplicates/{number}/result.json", dump(found))
    said = in_words(store, "duplicates", ["duplicates/0", "duplicates/1"])
    assert said == "1,200 pairs of near-duplicates in 2 buckets"


def test_every_task_of_the_training_has_words() -> None:
    module = ast.parse((ROOT / "dags/skin_training.py").read_text())
    tasks = {
        node.name
        for node in module.body
        if isinstance(node, ast.FunctionDef)
        and any(getattr(getattr(d, "func", d), "id", "") == "step" for d in node.decorator_list)
    }
    assert {"ingest", "gate"} <= tasks
    assert tasks <= set(WORDS)


def test_a_plan_of_scoring_says_how_much_is_new(store: FolderStore) -> None:
    about = {"model": "skin", "alias": "champion", "version": "4f1a", "source": "/new"}
    counts = {"chunks": ("a", "b"), "images": 700, "known": 1200}
    planned = ScoringPlan(**about, **counts, run="manual__1", began_at="")
    store.put("scoring/skin/plans/1.json", dump(planned))
    said = "700 images to look at in 2 chunks, 1,200 known already; by version 4f1a"
    assert in_words(store, "plan", "scoring/skin/plans/1.json") == said


def test_every_task_of_scoring_has_words() -> None:
    assert {"plan", "chunks", "score", "merge"} <= set(WORDS)
