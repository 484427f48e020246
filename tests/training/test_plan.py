"""What a run trains, on what and how: every setting and every side comes to where it belongs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tiny_network as tiny

from skin_pipeline.config import Settings
from skin_pipeline.contracts import Views
from skin_pipeline.training import plan
from skin_pipeline.training.backbone import Network
from skin_pipeline.training.inputs import Ints, Made, Source
from skin_pipeline.training.plan import moments, stages_of
from skin_pipeline.training.stages import Examples, Run, Stage
from skin_pipeline.training.views import dihedral

VIEWS = 4
LABELS = np.array([0, 0, 1] * 10)
SIDES = {
    "run_0": (["train"] * 12 + ["validation"] * 9 + ["test"] * 6 + ["unused"] * 3),
    "run_1": (["validation"] * 9 + ["train"] * 12 + ["test"] * 6 + ["unused"] * 3),
}
KNOBS = {
    "data": "demo",
    "weights": "none",
    "regions": "centre",
    "views": VIEWS,
    "corrupted": 0,
    "balance": "none",
    # No two alike, so that one in another's place shows.
    "epochs": 11,
    "patience": 5,
    "batch_size": 7,
    "learning_rate": 0.011,
    "l2": 0.013,
    "tune_epochs": 3,
    "tune_batch_size": 6,
    "tune_learning_rate": 0.0017,
    "jitter": 0.19,
}


@pytest.fixture(scope="module")
def network() -> Network:
    return tiny.network()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return tiny.source(tmp_path_factory.mktemp("source"), tiny.table(LABELS, **SIDES), VIEWS)


def stages(
    network: Network, source: Source, run: int = 0, seed: int = 3, **changes: Any
) -> list[Stage]:
    return stages_of(Run(lambda: network, source, Settings(**{**KNOBS, **changes}), run, seed))


def rows_of(run: int, side: str) -> Ints:
    return np.flatnonzero(np.array(SIDES[f"run_{run}"]) == side)


@pytest.mark.parametrize("strategy", ["head", "fine_tune", "full"])
@pytest.mark.parametrize("run", [0, 1])
def test_every_stage_of_a_run_trains_and_validates_on_the_sides_of_this_run(
    network: Network, source: Source, strategy: str, run: int
) -> None:
    for stage in stages(network, source, run, strategy=strategy):
        for examples, side in ((stage.train, "train"), (stage.validation, "validation")):
            assert list(examples.rows) == list(rows_of(run, side))
            assert list(examples.labels) == list(LABELS[rows_of(run, side)])
        assert stage.validation.weights is None


@pytest.mark.parametrize(
    ("strategy", "names"),
    [("head", ["head"]), ("fine_tune", ["head", "fine_tune"]), ("full", ["head", "full"])],
)
def test_the_head_comes_first_and_what_the_strategy_trains_after_it(
    network: Network, source: Source, strategy: str, names: list[str]
) -> None:
    assert [stage.name for stage in stages(network, source, strategy=strategy)] == names


@pytest.mark.parametrize("strategy", ["fine_tune", "full"])
@pytest.mark.parametrize(
    ("field", "head", "tuning"),
    [
        ("epochs", 11, 3),
        ("patience", 5, 5),
        ("batch_size", 7, 6),
        ("rate", 0.011, 0.0017),
        ("rate_setting", "learning_rate", "tune_learning_rate"),
        ("every_view", True, False),
        ("falling", False, True),
        ("devices", (), ()),
    ],
)
def test_the_head_and_tuning_have_settings_of_their_own(
    network: Network, source: Source, strategy: str, field: str, head: Any, tuning: Any
) -> None:
    made = stages(network, source, strategy=strategy)
    assert [getattr(stage, field) for stage in made] == [head, tuning]


@pytest.mark.parametrize("strategy", ["fine_tune", "full"])
def test_every_stage_learns_from_corrupted_copies_too_and_is_validated_without_them(
    network: Network, tmp_path: Path, strategy: str
) -> None:
    shown = Views(dihedral=2, copies=2, corruptions=("light",))
    source = tiny.source(tmp_path, tiny.table(LABELS, **SIDES), shown)
    for stage in stages(network, source, strategy=strategy, views=2, corrupted=2):
        assert (stage.train.views, stage.validation.views) == (4, 1)


@pytest.mark.parametrize("strategy", ["fine_tune", "full"])
def test_every_stage_sees_all_views_in_training_and_one_in_validation(
    network: Network, source: Source, strategy: str
) -> None:
    for stage in stages(network, source, strategy=strategy):
        assert (stage.train.views, stage.validation.views) == (VIEWS, 1)


@pytest.mark.parametrize("strategy", ["fine_tune", "full"])
def test_classes_are_weighed_in_every_stage(
    network: Network, source: Source, strategy: str
) -> None:
    for stage in stages(network, source, strategy=strategy, balance="class_weights"):
        weights, labels = stage.train.weights, stage.train.labels
        assert weights is not None
        assert weights[labels == 1].sum() == pytest.approx(weights[labels == 0].sum())
        assert weights.sum() == pytest.approx(len(labels))


@pytest.mark.parametrize("strategy", ["fine_tune", "full"])
def test_the_smaller_class_is_repeated_in_every_stage(
    network: Network, source: Source, strategy: str
) -> None:
    for stage in stages(network, source, strategy=strategy, balance="oversample"):
        assert list(np.bincount(stage.train.labels)) == [8, 8]
        assert set(stage.train.rows) == set(rows_of(0, "train"))
        assert list(stage.train.labels) == list(LABELS[stage.train.rows])
        assert list(np.bincount(stage.validation.labels)) == [6, 3]


@pytest.mark.parametrize("how", ["oversample", "smote"])
def test_what_is_drawn_to_balance_follows_the_seed_of_the_run(
    network: Network, source: Source, how: str
) -> None:
    one, same, other = (
        stages(network, source, seed=seed, balance=how, strategy="head")[0].train
        for seed in (3, 3, 4)
    )

    def read(examples: Examples) -> Any:
        return examples.inputs.take(examples.rows, examples.rows * 0)[0]

    assert np.array_equal(read(one), read(same))
    assert not np.array_equal(read(one), read(other))


def test_a_head_reads_pooled_features_of_the_view_that_is_asked_for(
    network: Network, source: Source
) -> None:
    (stage,) = stages(network, source, strategy="head")
    (read,) = stage.train.inputs.take(np.array([4, 20, 4]), np.array([3, 1, 0]))
    assert np.array_equal(read, tiny.pooled(len(LABELS), VIEWS)[[3, 1, 0], [4, 20, 4]])


def test_fine_tuning_reads_the_features_that_it_leaves_be_and_the_maps(
    network: Network, source: Source
) -> None:
    _, stage = stages(network, source, strategy="fine_tune")
    pooled, maps = stage.train.inputs.take(np.array([4, 20]), np.array([3, 1]))
    shallow = sum(tiny.CHANNELS[:2])
    assert np.array_equal(pooled, tiny.pooled(len(LABELS), VIEWS)[[3, 1], [4, 20], :shallow])
    assert np.array_equal(maps, tiny.maps(len(LABELS), VIEWS)[[3, 1], [4, 20]])


def test_the_whole_network_reads_images_turned_as_the_view_asks(
    network: Network, source: Source
) -> None:
    _, stage = stages(network, source, strategy="full")
    images = tiny.squares(len(LABELS))
    (read,) = stage.train.inputs.take(np.array([4, 20, 5]), np.array([3, 0, 2]))
    for seen, row, view in zip(read, (4, 20, 5), (3, 0, 2), strict=True):
        assert np.array_equal(seen, dihedral(images[[row]], view)[0])
    assert read.dtype == np.float32


# --- models --------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["head", "fine_tune", "full"])
def test_the_penalty_on_weights_reaches_the_head_of_every_stage(
    network: Network, source: Source, strategy: str
) -> None:
    for stage in stages(network, source, strategy=strategy):
        built = stage.build()
        head = stage.name == "head"
        l2 = built._l2 if head else built.get_layer("logit").kernel_regularizer.l2
        assert float(l2) == pytest.approx(KNOBS["l2"])


@pytest.mark.parametrize("jitter", [0.0, 0.19])
def test_only_the_whole_network_sees_changed_colours_and_as_strong_as_was_asked(
    network: Network, source: Source, jitter: float
) -> None:
    _, stage = stages(network, source, strategy="full", jitter=jitter)
    layers = [layer for layer in stage.build().layers if layer.name.startswith("random")]
    assert len(layers) == (5 if jitter else 0)
    if jitter:
        zoom, shift, light, contrast, colour = (layer.get_config() for layer in layers)
        assert zoom["height_factor"] == (-jitter, jitter)
        assert shift["height_factor"] == shift["width_factor"] == jitter / 2
        assert tuple(light["factor"]) == (-jitter, jitter)
        assert tuple(contrast["factor"]) == (0, jitter)
        assert tuple(colour["factor"]) == pytest.approx((0.5 - jitter / 2, 0.5 + jitter / 2))


def test_a_head_standardises_by_all_views_of_its_training_images(
    network: Network, source: Source
) -> None:
    (stage,) = stages(network, source, run=1, strategy="head")
    mean, variance = stage.build().weights()[:2]
    seen = tiny.pooled(len(LABELS), VIEWS)[:, rows_of(1, "train")].reshape(-1, len(mean))
    np.testing.assert_allclose(mean, seen.mean(0), rtol=1e-4, atol=1e-5)
    spread = seen.std(0) + 1e-6 + 1e-3 * np.abs(seen.mean(0))
    np.testing.assert_allclose(variance, spread**2, rtol=1e-3)


@pytest.mark.parametrize("count", [1, plan.CHUNK - 1, plan.CHUNK, 2 * plan.CHUNK + 3])
def test_mean_and_spread_are_those_of_all_rows_however_many_are_read_at_once(count: int) -> None:
    features = np.random.default_rng(0).normal(9, 2, (count, 3)).astype(np.float32)
    mean, deviation = moments(Examples(Made(features), np.arange(count), np.zeros(count, int)))
    np.testing.assert_allclose(mean, features.mean(0), rtol=1e-5)
    np.testing.assert_allclose(deviation, features.std(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("strategy", "quick", "size", "devices", "expected"),
    [
        ("fine_tune", True, 64, 0, True),  # products of matrices, on maps of any size
        ("fine_tune", False, 224, 0, False),
        ("full", True, 224, 0, True),
        ("full", True, 224, 1, True),
        ("full", True, 224, 2, False),  # XLA cannot sum gradients over devices
        ("full", True, 64, 0, False),  # small maps are quicker without
        ("full", False, 224, 0, False),
    ],
)
def test_xla_is_used_where_it_is_quicker(
    network: Network, strategy: str, quick: bool, size: int, devices: int, expected: bool
) -> None:
    made = Network(keras, tiny.SPEC._replace(jit=quick), network.whole, size)
    assert plan._jit(made, strategy, devices) is expected


@pytest.mark.parametrize("strategy", ["head", "fine_tune", "full"])
def test_a_head_begins_without_an_opinion(network: Network, source: Source, strategy: str) -> None:
    for stage in stages(network, source, strategy=strategy):
        built = stage.build()
        learned = (
            built.weights()[2:] if stage.name == "head" else built.get_layer("logit").get_weights()
        )
        assert len(learned) == 2
        assert not any(array.any() for array in learned)


@pytest.mark.parametrize(("strategy", "used"), [("fine_tune", ()), ("full", ("GPU:0", "GPU:1"))])
def test_only_the_whole_network_is_spread_over_gpus(
    network: Network,
    source: Source,
    monkeypatch: pytest.MonkeyPatch,
    strategy: str,
    used: tuple[str, ...],
) -> None:
    monkeypatch.setattr(plan, "gpus", lambda: ("GPU:0", "GPU:1"))
    head, tuning = stages(network, source, strategy=strategy)
    assert (head.devices, tuning.devices) == ((), used)
    assert not tuning.jit


def test_the_spread_of_features_far_from_zero_is_exact() -> None:
    features = np.random.default_rng(0).normal(4000, 0.5, (3000, 2)).astype(np.float32)
    _, deviation = moments(Examples(Made(features), np.arange(3000), np.zeros(3000, int)))
    np.testing.assert_allclose(deviation, features.astype(float).std(0), rtol=1e-3)
