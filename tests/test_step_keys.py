"""Of which settings each result is made: what changes a step's key, and what leaves it alone.

The steps run without their work: what they would make stands in the store as short documents that
say what the real ones would of the same inputs. So a key tells exactly what a result depends on.

**A new setting needs a line in `CHANGES`**: another value, and the steps whose results it changes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import documents
import judged_run
import pytest
import weights_file

from skin_pipeline import sharding, steps
from skin_pipeline.config import Deployment, Settings
from skin_pipeline.contracts import (
    Contract,
    EngineProbe,
    FeatureIndex,
    Features,
    Graph,
    ImageBuckets,
    Logits,
    NearDuplicates,
    Pointer,
    Scored,
    Split,
    address,
    dump,
    load,
)
from skin_pipeline.job import Job
from skin_pipeline.parting import Parts
from skin_pipeline.storage import FolderStore
from skin_pipeline.training import engines, probing
from skin_pipeline.versions import VERSIONS

# Results are made in this order; "elsewhere" is the first step on an external set, and "scored
# elsewhere" what the runs say of it.
STEPS = (
    *("ingest", "elsewhere", "buckets", "duplicates", "validate", "split", "features", "index"),
    *("train", "logits", "evaluate", "champion", "scored elsewhere", "external", "gate"),
)
EVERYTHING = set(STEPS)
# The gate's verdict records all settings, so each of them changes it. What follows from where:
GATE = {"gate"}
EVALUATE = {"evaluate", "external", "gate"}
# Another threshold scores no image of an external set again.
LOGITS = {"logits", "scored elsewhere"}
TRAIN = {"train", *LOGITS, *EVALUATE}
FEATURES = {"features", "index", *TRAIN}
SPLIT = {"split", "champion", *TRAIN}
COPIES = {"buckets", "duplicates"}  # of images of any of the sets
LABELS = {"ingest", "elsewhere", *COPIES, "validate", *SPLIT}  # of the same images

# Setting, another value than in BASE, and the steps whose keys it changes.
CHANGES: dict[str, tuple[Any, set[str]]] = {
    "data": ("other", EVERYTHING - {"elsewhere"}),
    "external": (
        "a=elsewhere, b=other",
        {"elsewhere", *COPIES, "validate", "scored elsewhere", "external", "gate"},
    ),
    "columns": ("sex=gender", LABELS - {"elsewhere"}),
    "malignant_values": ("melanoma", LABELS),
    "benign_values": ("nevus", LABELS),
    "neither_values": ("unsure", LABELS),
    "masks": ("leave_out", LABELS),
    "returned_labels": ("use", GATE),  # and `ingest`, as soon as there are such labels
    "model_name": ("another", {"champion", "gate"}),
    "image_size": (128, EVERYTHING),
    "field_of_view": (0.9, EVERYTHING),
    "regions": ("centre", EVERYTHING),
    "shard_size": (64, EVERYTHING),
    "min_per_class": (12, {"validate", "external", "gate"}),
    "max_group_share": (0.3, {"validate", "external", "gate"}),
    "max_unreadable": (0.2, {"validate", "external", "gate"}),
    "max_shortcut_auc": (0.9, {"validate", *EVALUATE}),  # a shortcut that fails no more
    "test_fraction": (0.3, SPLIT),
    "validation_fraction": (0.3, SPLIT),
    "balance": ("none", SPLIT),
    "runs": (3, SPLIT),
    "seed": (1, {"validate", *SPLIT}),
    "backbone": ("ResNet50V2", FEATURES),
    "weights": ("other.weights.h5", FEATURES),
    "engine": ("tensorflow", FEATURES),
    "precision": ("float32", FEATURES),
    "strategy": ("head", FEATURES),
    "head_stages": (3, GATE),
    "views": (8, FEATURES),
    "corrupted": (3, FEATURES),
    "corruptions": ("light, jpeg", FEATURES),
    "epochs": (7, TRAIN),
    "patience": (3, TRAIN),
    "batch_size": (16, TRAIN),
    "learning_rate": (0.01, TRAIN),
    "l2": (0.5, TRAIN),
    "tune_epochs": (5, TRAIN),
    "tune_batch_size": (16, TRAIN),
    "tune_learning_rate": (0.01, TRAIN),
    "jitter": (0.3, GATE),  # fine_tune has no use for it
    "target_sensitivity": (0.8, EVALUATE),
    "threshold_by": ("lower_bound", EVALUATE),
    "abstain_near": (0.1, EVALUATE),
    "abstain_unusual": (0.05, EVALUATE),
    "test_views": (2, {*LOGITS, *EVALUATE}),
    "prevalences": ("0.3", {"champion", *EVALUATE}),
    "min_accuracy": (0.5, GATE),
    "min_balanced_accuracy": (0.5, GATE),
    "min_sensitivity": (0.5, GATE),
    "min_specificity": (0.5, GATE),
    "min_precision": (0.5, GATE),
    "min_auc": (0.5, GATE),
    "max_calibration_error": (0.5, GATE),
    "judged_on": ("point", GATE),
    "min_auc_change": (0.1, GATE),
    "min_accuracy_change": (0.1, GATE),
    "min_sensitivity_change": (0.1, GATE),
    "min_specificity_change": (0.1, GATE),
    "changes_judged_on": ("lower_bound", GATE),
    "gated_slices": ("age", GATE),
    "min_slice_sensitivity": (0.5, GATE),
    "min_slice_auc": (0.6, GATE),
    "min_external_sensitivity": (0.5, GATE),
    "min_external_auc": (0.5, GATE),
    "min_source_auc": (0.5, GATE),
    "min_runs": (1, GATE),
}
BASE: dict[str, Any] = {
    "data": "ours",
    "external": "a=elsewhere",
    "weights": "mine.weights.h5",
    "engine": "auto",
    "precision": "auto",
    "strategy": "fine_tune",
    "runs": 2,
    "min_runs": 2,
    "views": 4,
    "gated_slices": "sex",
    "min_slice_auc": 0.5,
}
# The same for other strategies, where it differs.
BY_STRATEGY = {
    "head": {
        **dict.fromkeys(("tune_epochs", "tune_batch_size", "tune_learning_rate", "jitter"), GATE),
        "head_stages": FEATURES,
        "strategy": FEATURES,  # a head reads fewer stages
    },
    "full": {"jitter": TRAIN, "strategy": FEATURES},
}
# What follows from a step: the keys that a raised number of its version changes.
FOLLOWS = {
    "ingest": LABELS,  # the images stay the same, and with them their features
    "buckets": {"buckets", "duplicates", "validate", "external", "gate"},
    "duplicates": {"duplicates", "validate", "external", "gate"},
    "validate": {"validate", "external", "gate"},
    "split": SPLIT,
    "engine": set(),  # the same engine is found again
    "graph": set(),  # the same network; where it gives other features, their version is raised too
    "features": FEATURES,
    "index": {"index", *TRAIN},
    "train": TRAIN,
    "logits": {*LOGITS, "champion", *EVALUATE},
    "evaluate": EVALUATE,
    "champion": {"champion", "gate"},
    "external": {"external", "gate"},
    "gate": GATE,
}


# What each step's key depends on by itself, where all that it is made from stays the same: above, a
# setting that changes an earlier step hides that a later one forgets it.
DIRECTLY = {
    "duplicates": set(),
    "validate": {"min_per_class", "max_unreadable", "max_group_share", "max_shortcut_auc", "seed"},
    "split": {"runs", "test_fraction", "validation_fraction", "balance", "seed"},
    "features": {"backbone", "strategy", "views", "regions", "corrupted", "corruptions"},
    "index": set(),
    "logits": {"test_views", "regions"},
    "scored elsewhere": set(),  # the evaluation says in how many views
    "train": {
        *("strategy", "epochs", "patience", "batch_size", "learning_rate", "l2", "seed"),
        *("tune_epochs", "tune_batch_size", "tune_learning_rate"),
    },
    "evaluate": {
        *("target_sensitivity", "threshold_by", "test_views", "prevalences", "seed"),
        *("abstain_near", "abstain_unusual"),
    },
    "champion": {"model_name", "prevalences", "seed"},
    "external": {"prevalences", "seed"},
    "gate": set(CHANGES),
}


class Pretending(Job):
    """A job that makes short documents in the place of results."""

    def once(self, step: Any, version: Any, inputs: Any, make: Any, *, apart: bool = False) -> Any:
        assert version == VERSIONS[step], step
        return super().once(step, version, inputs, lambda work: MADE[step](self, work.key, inputs))


SEEN = ("content", "image_size", "field_of_view", "regions", "shard_size")


def _dataset(job: Job, key: str, inputs: dict[str, Any]) -> Contract:
    """Shards are named by what they show: labels and the step's version are nothing to them."""
    seen = {name: inputs[name] for name in SEEN}
    shards = tuple(f"shards/{address({**seen, 'number': number})}.npy" for number in range(2))
    return documents.dataset(key, shards=shards, image_size=224, field_of_view=0.8)


def _buckets(job: Job, key: str, inputs: dict[str, Any]) -> Contract:
    return ImageBuckets(
        dataset=inputs["dataset"], points="", images="", ends=(), thumbnails=(), sample=""
    )


def _near(job: Job, key: str, inputs: dict[str, Any]) -> Contract:
    return NearDuplicates(**inputs, count=0, pairs="")


def _validation(job: Job, key: str, inputs: dict[str, Any]) -> Contract:
    """The external sets share nothing with ours here, so the table is that of the images."""
    audited = documents.shortcut("file size", 0.7, passed=job.settings.max_shortcut_auc >= 0.7)
    table = f"tables/{address({'of': inputs['dataset']})}.csv"
    return documents.validation(
        key,
        inputs["dataset"],
        external=inputs["external"],
        table=table,
        checks=(),
        shortcuts=(audited,),
    )


def _split(job: Job, key: str, inputs: dict[str, Any]) -> Contract:
    return Split(
        dataset=inputs["dataset"],
        table=f"{key}/manifest.parquet",
        runs=job.settings.runs,
        counts={},
        stratification={},
        checks=(),
        docs="",
    )


def _engine(job: Job, key: str, inputs: dict[str, Any]) -> Contract:
    """The last one that may be used is the quickest here."""
    engine, precision = inputs["engines"][-1].split(":")
    return EngineProbe(engine=engine, precision=precision, rates={}, agreement={})


def _features(job: Job, key: str, inputs: dict[str, Any]) -> Contract:
    return Features(
        shard=inputs["images"], trunk=inputs["trunk"], views=inputs["views"], blocks={}, places={}
    )


def _trained(job: Job, key: str, inputs: dict[str, Any]) -> Contract:
    return judged_run.trained(inputs["run"]).model_copy(update={"features": inputs["features"]})


def _index(job: Job, key: str, inputs: dict[str, Any]) -> Contract:
    trunk = load(job.store, inputs["features"][0], Features).trunk
    return FeatureIndex(features=inputs["features"], trunk=trunk, views=1, blocks={}, places={})


def _logits(job: Job, key: str, inputs: dict[str, Any]) -> Contract:
    about = {"split": inputs.get("split", ""), "dataset": inputs.get("dataset", "")}
    return Logits(**about, runs=inputs["runs"], views=1, first=0, images=0, values="")


def _evaluation(job: Job, key: str, inputs: dict[str, Any]) -> Contract:
    split = load(job.store, inputs["split"], Split)
    known = {"split": inputs["split"], "runs": inputs["runs"], "views": inputs["scored_views"]}
    return documents.evaluation(dataset=split.dataset, **known)


def _scored(job: Job, key: str, inputs: dict[str, Any]) -> Contract:
    return Scored(name="a", dataset="", evaluation="", images=0, excluded=0)


MADE: dict[str, Callable[[Job, str, dict[str, Any]], Contract]] = {
    "ingest": _dataset,
    "buckets": _buckets,
    "duplicates": _near,
    "validate": _validation,
    "split": _split,
    "engine": _engine,
    "graph": lambda job, key, inputs: Graph(file="", activation_bytes=0, memory=0.0),
    "features": _features,
    "index": _index,
    "train": _trained,
    "logits": _logits,
    "evaluate": _evaluation,
    "champion": _scored,
    "external": _scored,
    "gate": lambda job, key, inputs: documents.verdict(),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Three sets of what a look at the files' names and bytes takes for images, and weights."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "other", "elsewhere"):
        for label in ("benign", "malignant"):
            (folder / name / label).mkdir(parents=True)
            (folder / name / label / "1.jpg").write_bytes(f"{name} {label}".encode())
        (folder / name / "metadata.csv").write_text("image_name,gender\n1,male\n")
    for number, name in enumerate(("mine", "other")):
        weights_file.written(folder / f"{name}.weights.h5", number)
    return folder


@pytest.fixture
def keys(folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs all steps with settings; the keys of what each step made, as sets by its name."""
    count = iter(range(100))
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # the disk is not what is tested
    monkeypatch.setattr(engines, "precisions", lambda: ["float32", "bfloat16"])
    monkeypatch.setattr(probing, "WORTH", 0)

    def run(**changes: Any) -> dict[Any, Any]:
        return keys_of(job_of(folder, FolderStore(tmp_path / f"store{next(count)}"), **changes))

    return run


def job_of(folder: Any, store: FolderStore, **changes: Any) -> Pretending:
    """A job on the sets in a folder, and champions of two names."""
    values = {**BASE, **changes}
    values["data"] = str(folder / values["data"])
    values["weights"] = str(folder / values["weights"])
    values["external"] = values["external"].replace("=", f"={folder}/")
    for name in ("skin-resnet50", "another"):
        pointer = Pointer(model=name, version="v1", previous=None, moved_at="", by="", reason="")
        store.put(f"models/{name}/champion.json", dump(pointer))
    return Pretending(Settings(**values), Deployment(store=store.url), store)


def keys_of(job: Pretending) -> dict[Any, Any]:
    dataset, weights, external = steps.ingest(job)
    weights = steps.engine(job, dataset, weights)
    sets = (dataset, *external.values())
    validation = steps.validate(job, dataset, external)
    split = steps.split(job, validation)
    shards = sharding.numbers(job, dataset)
    features = [steps.features(job, split, weights, shard) for shard in shards]
    index = steps.index(job, features)
    trained = [steps.train(job, split, index, run) for run in range(job.settings.runs)]
    evaluation = steps.evaluate(job, split, trained, validation)
    champion = steps.champion(job, split)
    others = steps.external(job, evaluation, validation)
    scored = [
        steps.external_logits(job, evaluation, validation, name, [shard])
        for name, key in external.items()
        for shard in sharding.numbers(job, key)
    ]
    made = {
        "ingest": [dataset],
        "elsewhere": list(external.values()),
        "buckets": [Parts(job).buckets(key) for key in sets],
        "duplicates": [steps.duplicates(job, dataset, key, 0) for key in sets],
        "validate": [validation],
        "split": [split],
        "features": features,
        "index": [index],
        "train": trained,
        "logits": [steps.logits(job, split, trained, [shard]) for shard in shards],
        "evaluate": [evaluation],
        "champion": [champion],
        "scored elsewhere": scored,
        "external": others,
        "gate": [steps.gate(job, evaluation, validation, champion, others)],
    }
    return {step: frozenset(found) for step, found in made.items()}


def changed(one: Any, other: Any) -> set[Any]:
    return {step for step in STEPS if one[step] != other[step]}


def test_every_setting_has_a_line() -> None:
    assert CHANGES.keys() == Settings.model_fields.keys(), (
        "a setting was added or removed: say in CHANGES which steps' results it changes"
    )


def test_every_step_has_a_version_and_a_line() -> None:
    assert VERSIONS.keys() == FOLLOWS.keys() == MADE.keys()


TRAINING = (
    *("backbone", "weights", "strategy", "views", "corrupted", "corruptions", "epochs"),
    *("head_stages", "patience", "batch_size", "learning_rate", "l2"),
    *("tune_epochs", "tune_batch_size", "tune_learning_rate", "jitter"),
)


@pytest.mark.parametrize(
    ("strategy", "name"),
    [
        *(("fine_tune", name) for name in CHANGES),
        *((strategy, name) for strategy in BY_STRATEGY for name in TRAINING),
    ],
)
def test_a_setting_changes_the_results_that_depend_on_it_and_no_others(
    keys: Callable[..., Any], strategy: Any, name: Any
) -> None:
    value, usual = CHANGES[name]
    expected = BY_STRATEGY.get(strategy, {}).get(name, usual)
    if name == "strategy" and strategy != "fine_tune":
        value = {"head": "full", "full": "head"}[strategy]
    before = keys(strategy=strategy)
    assert changed(before, keys(**{"strategy": strategy, name: value})) == expected


@pytest.mark.parametrize("step", list(DIRECTLY))
def test_a_step_depends_on_its_own_settings_also_where_all_before_it_is_the_same(
    folder: Any, store: FolderStore, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    made = {name: sorted(found) for name, found in keys_of(job_of(folder, store)).items()}
    (validation,), (split,), (evaluation,) = made["validate"], made["split"], made["evaluate"]
    calls: dict[str, Callable[[Job], Any]] = {
        "duplicates": lambda job: steps.duplicates(job, made["ingest"][0], made["ingest"][0], 0),
        "validate": lambda job: steps.validate(job, made["ingest"][0], {"a": "ingest/a"}),
        "split": lambda job: steps.split(job, validation),
        "features": lambda job: steps.features(job, split, "weights/1.weights.h5", 0),
        "train": lambda job: steps.train(job, split, made["index"][0], 0),
        "index": lambda job: steps.index(job, made["features"]),
        "logits": lambda job: steps.logits(job, split, made["train"], [0]),
        "evaluate": lambda job: steps.evaluate(job, split, made["train"], validation),
        "champion": lambda job: steps.champion(job, split),
        "external": lambda job: steps.external(job, evaluation, validation),
        "scored elsewhere": lambda job: steps.external_logits(
            job, evaluation, validation, "a", [0]
        ),
        "gate": lambda job: steps.gate(job, evaluation, validation),
    }
    before = calls[step](job_of(folder, store))
    depends = {
        name
        for name, (value, _) in CHANGES.items()
        if calls[step](job_of(folder, store, **{name: value})) != before
    }
    assert depends == DIRECTLY[step]


@pytest.mark.parametrize("step", list(FOLLOWS))
def test_a_raised_version_makes_a_step_anew_and_what_follows_from_it(
    keys: Callable[..., Any], step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = keys()
    monkeypatch.setitem(VERSIONS, step, VERSIONS[step] + 1)
    assert changed(before, keys()) == FOLLOWS[step]


def test_an_input_cannot_take_the_place_of_the_version_of_a_step(
    make_job: Callable[..., Job],
) -> None:
    with pytest.raises(TypeError, match="version"):
        make_job().once("split", 1, {"version": 2}, lambda key: documents.verdict())


def test_the_same_settings_have_the_same_keys_wherever_the_store_lies(
    keys: Callable[..., Any],
) -> None:
    assert changed(keys(), keys()) == set()


def test_each_run_and_each_shard_and_each_external_set_has_a_result_of_its_own(
    keys: Callable[..., Any],
) -> None:
    made = keys(runs=5, external="a=elsewhere, b=other")
    assert [len(made[step]) for step in ("train", "features", "logits", "external")] == [5, 2, 2, 2]


def test_an_external_set_is_read_without_the_columns_of_ours(keys: Callable[..., Any]) -> None:
    assert changed(keys(), keys(columns="sex=gender")) & {"elsewhere"} == set()


def test_the_order_in_which_runs_end_changes_nothing_and_a_missing_one_does(
    folder: Any, store: FolderStore
) -> None:
    values = {**BASE, "external": "", "data": str(folder / "ours"), "weights": "imagenet"}
    job = Pretending(Settings(**values), Deployment(store=store.url), store)
    validation = steps.validate(job, steps.ingest(job).dataset)
    split = steps.split(job, validation)
    runs = [steps.train(job, split, "index/1", run) for run in range(2)]
    one = steps.evaluate(job, split, runs, validation)
    assert steps.evaluate(job, split, reversed(runs), validation) == one
    assert steps.evaluate(job, split, runs[:1], validation) != one


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": (1, 2)}, {"a": [1, 2]}),
        ({"a": "ä"}, {"a": "ä"}),
    ],
)
def test_an_address_does_not_depend_on_how_its_inputs_were_written(first: Any, second: Any) -> None:
    assert address(first) == address(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": "1"}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({"a": None}, {"a": ""}),
        ({"a": None}, {}),
        ({"a": 0}, {"a": False}),
    ],
)
def test_other_inputs_have_other_addresses(first: Any, second: Any) -> None:
    assert address(first) != address(second)
