"""From a folder of labelled images to a profile: what counts, what is left out, what is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from released import opened

from skin_pipeline import tables
from skin_pipeline.contracts import SiteScores, load
from skin_pipeline.data import demo
from skin_pipeline.errors import BadInput
from skin_pipeline.job import Job
from skin_pipeline.release import MODEL_FILE, Model, site_making, sites
from skin_pipeline.release.predict import Scorer, predict, resolve
from skin_pipeline.release.site_making import Wanted
from skin_pipeline.storage import FolderStore

if TYPE_CHECKING:
    from tests.conftest import Finished

MODEL = "skin-resnet50-synthetic"
AIM = 0.9
WANTED = Wanted("clinic-b", sensitivity=AIM)
NEW, KNOWN = 30, 3  # images of each class


@pytest.fixture(scope="module")
def job(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job on a copy of a store that has a champion."""
    copy = shutil.copytree(finished.root, tmp_path_factory.mktemp("site") / "store")
    return replace(finished.job, store=FolderStore(copy))


@pytest.fixture(scope="module")
def model(job: Job) -> Model:
    return opened(job.store, name=MODEL)


@pytest.fixture(scope="module")
def version(finished: Finished) -> str:
    return finished.version.rpartition("/")[2]


@pytest.fixture(scope="module")
def images(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled images of a site: new ones, some of the version's own (turned), one damaged."""
    place = tmp_path_factory.mktemp("images")
    demo.generate(place / "site", seed=7, per_class=NEW)
    demo.generate(place / "own", seed=finished.job.settings.seed)
    for label in ("benign", "malignant"):
        for path in sorted((place / "own" / label).iterdir())[:KNOWN]:
            turned = Image.open(path).transpose(Image.Transpose.ROTATE_90)
            turned.save(place / "site" / label / f"own-{path.stem}.jpg", quality=95)
    (place / "site/benign/broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    return place / "site"


@pytest.fixture(scope="module")
def key(job: Job, model: Model, version: str, images: Path) -> str:
    return site_making.scored(job, model, version, str(images))


def test_images_are_scored_as_predict_scores_them(
    job: Job, model: Model, version: str, images: Path, key: str
) -> None:
    found = load(job.store, key, SiteScores)
    table = tables.read_scores(job.store, found.scores).set_index("key")
    paths = [images / name for name in table.index[:20]]
    for path, row in zip(paths, predict(paths, resolve(model, version)), strict=True):
        name = path.relative_to(images).as_posix()
        assert table.loc[name, "probability"] == pytest.approx(row.probability, abs=1e-6)


def test_what_the_version_knows_and_what_cannot_be_read_are_left_out_and_counted(
    job: Job, key: str
) -> None:
    found = load(job.store, key, SiteScores)
    table = tables.read_scores(job.store, found.scores)
    assert (found.images, found.unreadable, found.known) == (2 * NEW, 1, 2 * KNOWN)
    assert len(table) == 2 * NEW
    assert not table["key"].str.contains("own-|broken").any()
    assert table["group"].str.startswith("patient_id:").all()


def test_scoring_again_finds_the_scores(
    job: Job, model: Model, version: str, images: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_making, "_unknown", None)
    assert site_making.scored(job, model, version, str(images)) == key


def test_a_profile_says_what_it_was_made_from(
    job: Job, model: Model, version: str, key: str
) -> None:
    made = site_making.made(job, model, key, WANTED, by="alice")
    table = tables.read_scores(job.store, load(job.store, key, SiteScores).scores)
    patients = table.groupby("label")["group"].nunique()
    assert (made.malignant, made.benign) == (NEW, NEW)
    assert (made.malignant_patients, made.benign_patients) == (
        patients["malignant"],
        patients["benign"],
    )
    assert (made.unreadable, made.known, made.by) == (1, 2 * KNOWN, "alice")
    assert made.model_sha256 == model.release(version).files[MODEL_FILE]
    assert (made.target_sensitivity, made.threshold_by) == (0.9, "point")
    assert made == sites.Profiles.of(model, version).newest("clinic-b")
    model.verify(version)  # nothing of the version has changed


def test_the_aim_is_the_versions_own_where_nothing_is_asked_for(
    job: Job, finished: Finished, model: Model, key: str
) -> None:
    made = site_making.made(job, model, key, Wanted("clinic-c"), by="alice")
    settings = finished.job.settings
    asked = settings.target_sensitivity, settings.threshold_by
    assert (made.target_sensitivity, made.threshold_by) == asked
    assert asked[0] > AIM


def test_predictions_at_a_site_have_its_probabilities_and_threshold(
    job: Job, model: Model, version: str, images: Path, key: str
) -> None:
    made = site_making.made(job, model, key, WANTED, by="alice")
    paths = sorted((images / "benign").glob("DEMO*"))[:5]
    scorer = Scorer.of(resolve(model, version), 1)
    there = replace(scorer, profile=made)
    recalibrated = sites.Recalibration.of_profile(made)
    for own, row in zip(scorer.predict(paths), there.predict(paths), strict=True):
        assert own.probability is not None
        assert row.probability is not None
        assert row.probability == pytest.approx(recalibrated.one(own.probability))
        assert (row.label == "malignant") == (row.probability >= made.threshold)
    # An image between the two thresholds changes sides.
    middle = made.model_copy(update={"intercept": 0.0, "slope": 1.0, "threshold": 1.0})
    assert {row.label for row in replace(scorer, profile=middle).predict(paths)} == {"benign"}


def test_a_resolved_version_has_the_profile_of_the_site(
    job: Job, model: Model, version: str, key: str
) -> None:
    made = site_making.made(job, model, key, WANTED, by="alice")
    found = resolve(model, "champion", "clinic-b")
    assert found.profile == made
    assert found.threshold == made.threshold
    assert resolve(model, version, "clinic-b", made.number).profile == made
    assert resolve(model, version).threshold == model.release(version).threshold
    with pytest.raises(BadInput, match="no profile of a site 'nowhere'"):
        resolve(model, version, "nowhere")


def test_too_few_images_are_refused_with_what_is_not_counted(
    job: Job, finished: Finished, model: Model, version: str, tmp_path: Path
) -> None:
    demo.generate(tmp_path / "own", seed=finished.job.settings.seed)
    key = site_making.scored(job, model, version, str(tmp_path / "own"))
    with pytest.raises(BadInput, match="site clinic-b: too few labelled images") as refusal:
        site_making.made(job, model, key, WANTED, by="alice")
    assert "that the version's own data contains" in str(refusal.value)


def test_images_without_labels_are_refused(
    job: Job, model: Model, version: str, tmp_path: Path
) -> None:
    for number in range(3):
        pixels = np.full((80, 80, 3), 60 * number, np.uint8)
        (tmp_path / "unlabelled").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "unlabelled" / f"{number}.png")
    with pytest.raises(BadInput, match="benign"):
        site_making.scored(job, model, version, str(tmp_path / "unlabelled"))


def test_a_version_without_what_it_was_made_from_is_refused(
    job: Job, model: Model, version: str, images: Path, tmp_path: Path
) -> None:
    """It was copied here alone: nobody can say which images it knows."""
    alone = FolderStore(tmp_path / "alone")
    for name in job.store.list(f"models/{MODEL}"):
        alone.put(name, job.store.read(name))
    with pytest.raises(BadInput, match=r"a profile needs what version .* was made from"):
        site_making.scored(
            replace(job, store=alone), opened(alone, name=MODEL), version, str(images)
        )
