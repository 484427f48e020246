"""A whole run on drawings that are hard to tell apart, beside the easy run that tests share.

On the easy run every model is right about everything, so a fault changes nothing. Here the classes
overlap, a patient has several images that look alike, the classes are of unequal size, each image
has two views, the heads learn their training images by heart (so the AUC peaks early and the
logits are far too large), and the size of the files gives the label away in part. About 25 s of
one core, of which imports are half.
"""

from __future__ import annotations

import csv
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from skin_pipeline import sharding, steps
from skin_pipeline.config import Deployment, Settings
from skin_pipeline.contracts import Verdict, load
from skin_pipeline.job import Job
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import Registry, tasks
from skin_pipeline.storage import open_store

PATIENTS = 100
MALIGNANT = 0.42  # share of the images
RUNS = 3
KNOBS: dict[str, Any] = {
    "image_size": 64,
    "strategy": "head",
    "head_stages": 3,  # the other strategies are trained on the same features
    "views": 2,
    "test_views": 2,
    "corrupted": 1,
    "corruptions": "light, jpeg",
    "runs": RUNS,
    "min_runs": RUNS,
    "test_fraction": 0.3,
    "validation_fraction": 0.25,
    "epochs": 24,
    "patience": 8,
    "batch_size": 32,
    "learning_rate": 3e-3,
    "l2": 0.0,
    "target_sensitivity": 0.8,
    "max_shortcut_auc": 0.6,
    "min_accuracy": 0.4,
    "min_sensitivity": 0.4,
    "min_per_class": 10,
}
WEIGHTS = "random.weights.h5"
SMALL, LARGE = (112, 84), (128, 96)  # pixels of the drawn files


@dataclass(frozen=True)
class Hard:
    """The run: where its images lie, its job, and the keys of its results."""

    folder: Path
    job: Job
    weights: str
    dataset: str
    validation: str
    split: str
    features: list[str]
    index: str
    trained: list[str]
    evaluation: str
    external: list[str]
    verdict: str
    version: str

    def at(self, folder: Path) -> Hard:
        """The same run in a copy of its folder."""
        settings = self.job.settings.model_copy(update=_places(folder))
        deployment = Deployment(store=f"file://{folder / 'store'}", threads=1)
        job = replace(
            self.job, settings=settings, deployment=deployment, store=open_store(deployment.store)
        )
        return replace(self, folder=folder, job=job)


@dataclass(frozen=True)
class Later:
    """A second version of the images: some are new, some gone, some have the other label."""

    job: Job
    dataset: str
    validation: str
    split: str
    added: frozenset[str]
    removed: frozenset[str]
    relabelled: frozenset[str]


def build(folder: Path, **keys: Any) -> Hard:
    """Draw the images into `folder` and run all steps on them, with a store beside them.

    Args:
        folder: An empty one.
        keys: Settings of the deployment for signatures.
    """
    draw(folder / "images", seed=1, patients=PATIENTS)
    draw(folder / "elsewhere", seed=2, patients=20, tint=-18)
    for path in sorted((folder / "images/benign").iterdir())[:2]:
        shutil.copy(path, folder / "elsewhere/benign" / f"copied_{path.name}")
    deployment = Deployment(store=f"file://{folder / 'store'}", threads=1, **keys)
    random_weights(folder / WEIGHTS)
    settings = Settings(**{**_places(folder), **KNOBS})
    job = Job(settings, deployment, open_store(deployment.store))
    dataset, weights, others = steps.ingest(job)
    validation = steps.validate(job, dataset, others)
    split = steps.split(job, validation)
    features = [steps.features(job, split, weights, i) for i in sharding.numbers(job, dataset)]
    index = steps.index(job, features)
    trained = [steps.train(job, split, index, run) for run in range(RUNS)]
    evaluation = steps.evaluate(job, split, trained, validation)
    external = steps.external(job, evaluation, validation)
    verdict = steps.gate(job, evaluation, validation, "", external)
    version = crown(job, verdict)
    return Hard(
        *(folder, job, weights, dataset, validation, split, features, index, trained, evaluation),
        *(external, verdict, version),
    )


def _places(folder: Path) -> dict[str, str]:
    return {
        "data": str(folder / "images"),
        "external": f"elsewhere={folder / 'elsewhere'}",
        "weights": str(folder / WEIGHTS),
    }


def build_later(hard: Hard, folder: Path) -> Later:
    """Validate and split a second version of the images, in a copy of the run's store."""
    shutil.copytree(hard.folder / "images", folder / "images")
    draw(folder / "new", seed=3, patients=5, first=PATIENTS)
    added = {_moved(path, folder / "images") for path in sorted((folder / "new").rglob("*.jpg"))}
    rows = (folder / "new/metadata.csv").read_text().split("\n", 1)[1]
    with (folder / "images/metadata.csv").open("a") as file:
        file.write(rows)
    benign = sorted((folder / "images/benign").glob("H0*.jpg"))
    for path in benign[:3]:
        path.unlink()
    relabelled = [path.rename(folder / "images/malignant" / path.name) for path in benign[3:5]]
    # What is written is put in another file's place, so a link is as good as a copy.
    shutil.copytree(hard.folder / "store", folder / "store")
    settings = hard.job.settings.model_copy(update={"data": str(folder / "images"), "external": ""})
    deployment = Deployment(store=f"file://{folder / 'store'}", threads=1)
    job = replace(
        hard.job, settings=settings, deployment=deployment, store=open_store(deployment.store)
    )
    dataset = steps.ingest(job).dataset
    validation = steps.validate(job, dataset)
    return Later(
        *(job, dataset, validation, steps.split(job, validation), frozenset(added)),
        frozenset(f"benign/{path.name}" for path in benign[:3]),
        frozenset(f"malignant/{path.name}" for path in relabelled),
    )


def crown(job: Job, verdict: str) -> str:
    """Make a judged model the champion as `promote` does, but without trying its file in a process
    of its own, which takes as long as all the rest."""
    release, files = tasks.described(job, verdict, load(job.store, verdict, Verdict))
    model = Registry(job.store, SigningKeys()).model(release.model)
    model.publish(release, files, lambda model: None)
    before = model.champion
    assert model.move(
        release.version,
        by=job.run_id,
        reason="passed the gate",
        expected=before.version if before else None,
    )
    return model.version_key(release.version)


def _moved(path: Path, root: Path) -> str:
    key = f"{path.parent.name}/{path.name}"
    path.rename(root / key)
    return key


def random_weights(path: Path) -> None:
    """Write ResNet50 as it is before it learns anything."""
    import keras

    keras.utils.set_random_seed(7)
    keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(64, 64, 3)
    ).save_weights(path)


def draw(folder: Path, seed: int, patients: int, tint: float = 0.0, first: int = 0) -> None:
    """Write `benign/`, `malignant/` and `metadata.csv` below `folder`.

    Args:
        folder: That is made.
        seed: Of everything drawn.
        patients: Each with one to five images of one skin, mostly of one class.
        tint: By which everything is lighter.
        first: Number of the first patient.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for label in ("benign", "malignant"):
        (folder / label).mkdir(parents=True)
    for patient in range(first, first + patients):
        skin, colour = rng.normal(0, 16, 3), rng.normal(0, 14, 3)
        prone = rng.random() < MALIGNANT
        sex = rng.choice(("female", "male"))
        for number in range(rng.integers(1, 6)):
            malignant = rng.random() < (0.8 if prone else 0.15)
            age = int(np.clip(rng.normal(62 if malignant else 52, 14), 20, 85))
            name = f"H{patient:03}_{number}"
            image = lesion(rng, malignant, skin + tint, colour + tint)
            image.save(folder / ("benign", "malignant")[malignant] / f"{name}.jpg", quality=92)
            site = rng.choice(("torso", "upper extremity", "lower extremity", "head/neck"))
            rows.append((name, f"P{patient:03}", sex, age, site))
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image_name", "patient_id", "sex", "age_approx", "site"))
        writer.writerows(rows)


def lesion(
    rng: np.random.Generator, malignant: bool, skin: np.ndarray, colour: np.ndarray
) -> Image.Image:
    """A lesion with signs of its class, as strong as chance has it, and of the larger size more
    often if it is malignant."""
    sign = np.clip(rng.normal(0.7 if malignant else 0.3, 0.2), 0, 1)
    wide, high = LARGE if rng.random() < (0.7 if malignant else 0.3) else SMALL
    y, x = np.mgrid[:high, :wide].astype(float)
    y, x = y - high / 2 + rng.normal(0, 3), x - wide / 2 + rng.normal(0, 3)
    angle = np.arctan2(y, x)
    outline = sum(
        rng.normal(0, 0.03 + 0.2 * sign) / np.sqrt(k) * np.cos(k * angle + rng.uniform(0, 6.28))
        for k in range(2, 8)
    )
    inside = np.hypot(x, y) < rng.uniform(0.24, 0.36) * high * (1 + outline)
    coarse = rng.normal(0, 6 + 24 * sign, (5, 7, 3))
    patches = coarse[np.arange(high)[:, None] * 5 // high, np.arange(wide) * 7 // wide]
    pixels = np.where(
        inside[..., None],
        np.array((134, 88, 62)) + colour + patches,
        np.array((222, 178, 154)) + skin,
    )
    pixels = np.clip(pixels + rng.normal(0, 8, pixels.shape), 0, 255)
    image = Image.fromarray(pixels.astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(1.2))
