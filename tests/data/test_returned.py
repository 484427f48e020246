"""Labels that came back: kept, looked up, and as a part of the next data set."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from skin_pipeline import steps
from skin_pipeline.contracts import Dataset, ReturnedLabel, ReturnedLabels, Split, Validation
from skin_pipeline.data import manifest, returned
from skin_pipeline.data.label_files import Seen
from skin_pipeline.job import Job
from skin_pipeline.storage import FolderStore

MakeJob = Callable[..., Job]
MODEL = "skin-resnet50"
A, B = "a" * 64, "b" * 64


def row(image: str, label: str, at: str, digest: str = "", **facts: str) -> ReturnedLabel:
    return ReturnedLabel(
        image=image, line=2, value=label, label=label, at=at, digest=digest, facts=facts
    )


def document(
    at: str, *taken: ReturnedLabel, pending: tuple[ReturnedLabel, ...] = (), file: str = "x.csv"
) -> ReturnedLabels:
    return ReturnedLabels(
        model=MODEL,
        file=file,
        sha256=sha256((file + at).encode()).hexdigest(),
        labelling="l",
        at=at,
        run=at,
        taken=taken,
        pending=pending,
        refused=(),
    )


def test_the_newest_label_holds_and_the_history_stays(store: FolderStore) -> None:
    returned.keep(store, document("2026-11-02", row("a", "malignant", "2026-11-02", A)))
    returned.keep(
        store,
        document(
            "2026-11-01", row("a", "benign", "2026-11-01", A), row("b", "benign", "2026-11-01", B)
        ),
    )
    now = returned.current(store, MODEL)
    assert {digest: found.label for digest, found in now.items()} == {A: "malignant", B: "benign"}
    history = returned.history(returned.documents(store, MODEL))
    assert [found.label for found in history[A]] == ["benign", "malignant"]
    assert returned.current(store, "other") == {}


def test_a_label_is_as_old_as_the_first_reading_of_its_file(store: FolderStore) -> None:
    first = document("2026-11-01", row("a", "benign", "2026-11-01", A))
    known = [first, first.model_copy(update={"at": "2026-11-03", "labelling": "other"})]
    assert returned.first_read(known, first.sha256, "2026-11-04") == "2026-11-01"
    assert returned.first_read(known, "another", "2026-11-04") == "2026-11-04"


def test_a_pending_label_is_taken_when_its_image_was_scored_but_is_no_correction(
    store: FolderStore,
) -> None:
    late = (row("late.jpg", "benign", "2026-11-01"), row("twice.jpg", "benign", "2026-11-01"))
    returned.keep(store, document("2026-11-01", pending=late))
    returned.keep(store, document("2026-11-02", row("late.jpg", "malignant", "2026-11-02", A)))
    seen = Seen([("inbox/late.jpg", A), ("1/twice.jpg", B), ("2/twice.jpg", "c" * 64)])
    known = returned.documents(store, MODEL)
    (said,) = returned.arrived(known, seen, run="next", now="2026-11-03")
    assert [(found.digest, found.name) for found in said.taken] == [(A, "inbox/late.jpg")]
    returned.keep(store, said)
    # It is older than the file that was read meanwhile.
    assert returned.current(store, MODEL)[A].label == "malignant"
    again = returned.arrived(returned.documents(store, MODEL), seen, run="r", now="2026-11-04")
    assert list(again) == []
    assert [found.image for _, found in returned.waiting(returned.documents(store, MODEL))] == [
        "twice.jpg"
    ]


# --- as a part of the next data set --------------------------------------------------------------


def drawn(folder: Path, name: str, seed: int) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 255, (70, 90, 3), dtype=np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / name)
    return folder / name


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Twelve images of each class, with their patients."""
    lines = ["image,patient_id"]
    for number in range(12):
        for side, label in enumerate(("benign", "malignant")):
            name = f"{label}{number}.png"
            drawn(tmp_path / "set" / label, name, 100 * side + number)
            lines.append(f"{name},{side}{number:02}")
    (tmp_path / "set/patients.csv").write_text("\n".join(lines))
    return tmp_path / "set"


def comes_back(
    store: FolderStore, path: Path, label: str, at: str = "2026-11-01", **facts: str
) -> str:
    """An image whose label came back, and of which the store has a copy."""
    digest = sha256(path.read_bytes()).hexdigest()
    store.put_file(returned.image_key(MODEL, digest, ".png"), path)
    returned.keep(store, document(at, row(path.name, label, at, digest, **facts), file=path.name))
    return digest


def job_for(make_job: MakeJob, source: Path, **settings: Any) -> Job:
    bounds = {"min_per_class": 10, "test_fraction": 0.4, "max_group_share": 0.5}
    more = {"returned_labels": "use", **bounds, **settings}
    return make_job(data=str(source), weights="imagenet", **more)


def test_returned_images_join_the_data_set_under_the_patient_that_it_knows(
    make_job: MakeJob, source: Path, tmp_path: Path, store: FolderStore
) -> None:
    digest = comes_back(
        store, drawn(tmp_path, "new.png", 999), "malignant", patient_id="3.0", age="45"
    )
    job = job_for(make_job, source)
    dataset = job.load(steps.ingest(job).dataset, Dataset)
    assert (dataset.classes, dataset.returned) == ({"benign": 12, "malignant": 13}, 1)
    table = manifest.read(store, dataset.table).set_index("sha256")
    assert table.loc[digest, "key"] == f"returned/malignant/{digest}.png"
    assert table.loc[digest, "patient_id"] == "003"  # as the set itself writes it
    assert bool(table.loc[digest, "readable"])


def test_a_data_set_follows_from_the_labels_that_it_was_made_with(
    make_job: MakeJob, source: Path, tmp_path: Path, store: FolderStore
) -> None:
    without = job_for(make_job, source, returned_labels="leave_out")
    plain = steps.ingest(without).dataset
    path = drawn(tmp_path, "new.png", 999)
    comes_back(store, path, "malignant")
    assert steps.ingest(without).dataset == plain  # left out, it is as if there were none
    with_it = steps.ingest(job_for(make_job, source)).dataset
    assert with_it != plain
    assert steps.ingest(job_for(make_job, source)).dataset == with_it
    comes_back(store, path, "benign", at="2026-11-02")
    corrected = steps.ingest(job_for(make_job, source)).dataset
    assert corrected != with_it
    assert job_for(make_job, source).load(corrected, Dataset).classes["benign"] == 13


def test_returned_images_take_the_side_of_their_group_and_move_no_other(
    make_job: MakeJob, source: Path, tmp_path: Path, store: FolderStore
) -> None:
    def sides(job: Job) -> dict[str, str]:
        validation = steps.validate(job, steps.ingest(job).dataset)
        table = manifest.read(store, job.load(steps.split(job, validation), Split).table)
        return {
            key: str(side == "test")
            for key, side in zip(table["sha256"], table["run_0"], strict=True)
        }

    before = sides(job_for(make_job, source, returned_labels="leave_out"))
    digests = {
        comes_back(
            store,
            drawn(tmp_path, f"new{number}.png", 500 + number),
            "malignant",
            patient_id=f"1{number:02}",
        ): f"malignant{number}.png"
        for number in range(12)
    }
    after = sides(job_for(make_job, source))
    assert {digest: after[digest] for digest in before} == before
    assert {"True", "False"} <= set(before.values())
    of_patient = {
        path.name: before[sha256(path.read_bytes()).hexdigest()]
        for path in (source / "malignant").iterdir()
    }
    assert {digest: after[digest] for digest in digests} == {
        digest: of_patient[name] for digest, name in digests.items()
    }


def test_what_is_not_used_is_reported(
    make_job: MakeJob, source: Path, tmp_path: Path, store: FolderStore
) -> None:
    comes_back(store, drawn(tmp_path, "none.png", 997), "neither")
    own = source / "benign/benign1.png"
    comes_back(store, Path(shutil.copy(own, tmp_path / "own.png")), "malignant")
    comes_back(store, drawn(tmp_path, "new.png", 999), "benign")
    returned.keep(store, document("2026-11-05", row("gone.png", "benign", "2026-11-05", A)))
    job = job_for(make_job, source)
    dataset = job.load(steps.ingest(job).dataset, Dataset)
    assert (dataset.classes, dataset.returned) == ({"benign": 13, "malignant": 12}, 1)
    notices = {notice.kind: notice for notice in dataset.notices}
    assert notices["returned_without_image"].subject == "gone.png"
    assert "SKIN_RETURNED_LABELS=use" in notices["returned_without_image"].reason
    assert notices["returned_label_differs"].subject == "own.png"
    assert notices["returned_without_patient"].subject == "new.png"


def test_external_sets_get_no_returned_images(
    make_job: MakeJob, source: Path, tmp_path: Path, store: FolderStore
) -> None:
    comes_back(store, drawn(tmp_path, "new.png", 999), "malignant")
    shutil.copytree(source, tmp_path / "other")
    job = job_for(make_job, source, external=f"other={tmp_path}/other")
    made = steps.ingest(job)
    assert job.load(made.external["other"], Dataset).returned == 0
    assert job.load(made.dataset, Dataset).returned == 1
    assert isinstance(
        job.load(steps.validate(job, made.dataset, made.external), Validation), Validation
    )
