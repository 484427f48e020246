"""What a version says of an image: its probability and label, or that it is unsure."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from profiled_sites import profile as site_profile
from released import opened
from scipy.special import expit, logit
from scipy.stats import binom

from skin_pipeline import tables
from skin_pipeline.contracts import Abstention, Dataset, Evaluation, Split, TrainedRun, load
from skin_pipeline.data import manifest
from skin_pipeline.errors import BadInput
from skin_pipeline.evaluation import familiarity
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import MANIFEST, MODEL_FILE, versions
from skin_pipeline.release.deciding import UNSURE, Deciding, familiar_to
from skin_pipeline.release.predict import BATCH, Resolved, Scorer, beside, predict, resolve
from skin_pipeline.storage import FolderStore, digest_file
from skin_pipeline.training import inputs

if TYPE_CHECKING:
    from tests.conftest import Finished

MODEL = "skin-resnet50-synthetic"


@pytest.fixture(scope="module")
def champion(finished: Finished) -> Resolved:
    return resolve(opened(finished.job.store, name=MODEL))


@pytest.fixture(scope="module")
def scorer(champion: Resolved) -> Scorer:
    return Scorer.of(champion, threads=2)


@pytest.fixture(scope="module")
def golden(finished: Finished) -> list[bytes]:
    store = finished.job.store
    copies = load(store, finished.dataset, Dataset).golden.values()
    return [store.read(copy) for copy in copies]


def abstaining(model: Any, **rule: float) -> Any:
    """A model or scorer that abstains by a rule."""
    release = model.release.model_copy(update={"abstention": Abstention(**rule)})
    if isinstance(model, Resolved):
        return model._replace(release=release)
    return replace(model, release=release)


# --- near the threshold --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("logits", "label"),
    [(-2.0, "benign"), (-0.51, "benign"), (-0.49, UNSURE), (0.49, UNSURE), (0.51, "malignant")],
)
def test_an_image_near_the_threshold_gets_no_decision(
    champion: Resolved, logits: float, label: str
) -> None:
    deciding = Deciding(abstaining(champion, margin=0.5).release)
    probability = float(expit(logit(deciding.threshold) + logits))
    row = deciding.called("a.jpg", probability)
    assert (row.probability, row.label, row.problem) == (probability, label, "")


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_at_a_site_near_is_near_the_threshold_of_the_site(champion: Resolved, slope: float) -> None:
    """The margin stays as wide among the version's own probabilities, wherever the threshold is."""
    there = site_profile().model_copy(update={"intercept": 0.4, "slope": slope, "threshold": 0.2})
    deciding = Deciding(abstaining(champion, margin=0.5).release, there)
    middle = (logit(0.2) - 0.4) / slope  # of the version's own logits
    found = {
        away: deciding.called("a.jpg", float(expit(middle + away))).label
        for away in (-0.51, -0.49, 0.49, 0.51)
    }
    assert found == {-0.51: "benign", -0.49: UNSURE, 0.49: UNSURE, 0.51: "malignant"}


def test_without_a_rule_nothing_is_unsure_and_a_score_that_is_none_is_a_problem(
    champion: Resolved,
) -> None:
    assert champion.release.abstention.never
    deciding = Deciding(champion.release)
    for probability in (0.0, deciding.threshold, 1.0):
        assert deciding.called("a.jpg", probability).label in champion.release.labels
    broken = deciding.called("a.jpg", float("nan"))
    assert (broken.probability, broken.label, broken.familiarity) == (None, "", None)


# --- a real version ------------------------------------------------------------------------------


def test_each_probability_has_a_familiarity_and_the_rest_is_as_without(
    champion: Resolved, golden: list[bytes]
) -> None:
    rows = list(predict(golden, champion, threads=2))
    plain = list(predict(golden, champion._replace(familiarity=None), threads=2))
    for row, other in zip(rows, plain, strict=True):
        assert row.familiarity is not None
        assert 0 < row.familiarity <= 1
        assert other.familiarity is None
        assert (row.image, row.label, row.problem) == (other.image, other.label, other.problem)
        assert row.probability == pytest.approx(other.probability, abs=1e-6)


@pytest.mark.parametrize("size", [1, 3, BATCH + 1])
def test_an_image_alone_is_decided_on_as_in_a_batch(
    scorer: Scorer, golden: list[bytes], size: int
) -> None:
    known = np.array([row.familiarity for row in scorer.predict(golden)], float)
    unsure = abstaining(scorer, familiarity=float(np.median(known)) + 1e-6, margin=0.5)
    images = (golden * BATCH)[: max(len(golden), BATCH + 1)]
    together = [row.label for row in unsure.predict(images)]
    assert {UNSURE} < set(together)
    parts = (images[start : start + size] for start in range(0, len(images), size))
    assert [row.label for part in parts for row in unsure.predict(part)] == together


def test_the_more_a_version_abstains_the_fewer_images_it_decides_on(
    scorer: Scorer, golden: list[bytes]
) -> None:
    for name, values in (("margin", (0.0, 0.5, 2.0, 30.0)), ("familiarity", (0.0, 0.3, 0.6, 1.0))):
        unsure = [
            {
                row.image
                for row in abstaining(scorer, **{name: value}).predict(golden)
                if row.label == UNSURE
            }
            for value in values
        ]
        assert not unsure[0]
        assert unsure[-1]
        assert all(fewer <= more for fewer, more in itertools.pairwise(unsure))


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_of_images_of_the_same_origin_the_stated_share_passes(
    finished: Finished, share: float
) -> None:
    """Validation images that the distances are those of, and test images, which are new."""
    store = finished.job.store
    evaluation = load(store, finished.evaluation, Evaluation)
    known = familiarity.of_store(store, evaluation.familiarity)
    assert (known.distances >= 0).all()
    ranks = (1 + np.arange(len(known.distances))[::-1]) / (1 + len(known.distances))
    assert (ranks >= share).mean() == pytest.approx(1 - share, abs=1 / len(known.distances))
    table = tables.read_scores(store, evaluation.predictions)
    tested = table.loc[table["test"], "familiarity"].to_numpy(float)
    passed, count = int((tested >= share).sum()), len(tested)
    low, high = binom.interval(0.999, count, 1 - share)
    assert low <= passed <= high


def test_no_test_image_has_a_part_in_what_is_familiar(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = finished.job.store
    evaluation = load(store, finished.evaluation, Evaluation)
    split = load(store, evaluation.split, Split)
    table = manifest.read_readable(store, split.table)
    held_out = tables.read_scores(store, evaluation.predictions)["held_out_probability"]
    features = load(store, evaluation.runs[0], TrainedRun).features
    shards = load(store, finished.dataset, Dataset).shards
    source = inputs.Source(store, table, features, shards)
    asked: list[int] = []
    pooled_of = familiarity.pooled_of

    def watching(seen: inputs.Source, rows: Any) -> Any:
        asked.extend(rows)
        return pooled_of(seen, rows)

    monkeypatch.setattr(familiarity, "pooled_of", watching)
    known = familiarity.of_store(store, evaluation.familiarity)
    again = familiarity.learned(source, held_out.to_numpy(float), known.space.channels)
    assert again is not None
    np.testing.assert_allclose(again.distances, known.distances, rtol=1e-3)
    assert not (table["run_0"].to_numpy()[asked] == "test").any()
    assert len(set(asked)) == len(asked)  # none is both learned from and calibrated by


# --- the file of what is familiar ----------------------------------------------------------------


@pytest.fixture
def copied(finished: Finished, tmp_path: Path) -> Path:
    """A copy of the champion's version: its model, its manifest, and what is familiar to it."""
    for name in (MODEL_FILE, MANIFEST, versions.FAMILIARITY):
        shutil.copy(finished.job.store.local(f"{finished.version}/{name}"), tmp_path)
    return tmp_path


def test_the_manifest_names_the_file_and_signs_it_with_the_others(champion: Resolved) -> None:
    assert {versions.FAMILIARITY, MODEL_FILE} <= set(champion.release.files)


def test_a_file_of_another_version_is_refused(copied: Path, champion: Resolved) -> None:
    path = copied / versions.FAMILIARITY
    known = familiarity.read(path)
    Path(path).unlink()
    familiarity.write(path, replace(known, distances=known.distances * 2))
    with pytest.raises(BadInput, match="is not the file that the manifest of version"):
        Scorer.of(beside(copied / MODEL_FILE, SigningKeys()), threads=1)


def test_a_damaged_file_is_refused_even_if_the_manifest_names_it(
    champion: Resolved, store: FolderStore
) -> None:
    store.root.mkdir(parents=True, exist_ok=True)
    path = store.root / "familiarity.npz"
    np.savez(path, centre=np.zeros(3))
    files = {**champion.release.files, versions.FAMILIARITY: digest_file(path)}
    release = champion.release.model_copy(update={"files": files})
    with pytest.raises(BadInput, match="is damaged: it has no spread"):
        familiar_to(release, path)


def test_a_version_that_does_not_abstain_by_it_needs_no_file(copied: Path) -> None:
    (copied / versions.FAMILIARITY).unlink()
    found = beside(copied / MODEL_FILE, SigningKeys())
    assert found.familiarity is None
    assert familiar_to(found.release, None) is None


def test_a_version_that_abstains_from_unusual_images_is_not_used_without_the_file(
    copied: Path,
) -> None:
    (copied / versions.FAMILIARITY).unlink()
    found = abstaining(beside(copied / MODEL_FILE, SigningKeys()), familiarity=0.1)
    with pytest.raises(BadInput, match=r"there is no familiarity\.npz to know them by"):
        Scorer.of(found, threads=1)
