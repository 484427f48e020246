"""The reference at a site: its labelled images, seen as batch scoring sees them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from released import opened

from skin_pipeline import tables
from skin_pipeline.contracts import SiteScores, load
from skin_pipeline.data import demo
from skin_pipeline.monitoring import reference, score_log, scoring, site_reference
from skin_pipeline.monitoring.measures import NAMES
from skin_pipeline.release import site_making
from skin_pipeline.storage import FolderStore

if TYPE_CHECKING:
    from tests.conftest import Finished

MODEL = "skin-resnet50-synthetic"


def test_it_has_what_batch_scoring_says_of_the_same_images(
    finished: Finished,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: Callable[[], set[str]],
) -> None:
    monkeypatch.setattr("skin_pipeline.data.sources.from_folder.UNSETTLED", 0.0)
    store = FolderStore(shutil.copytree(finished.root, tmp_path / "store"))
    job, model = replace(finished.job, store=store), opened(store, name=MODEL)
    version = finished.version.rpartition("/")[2]
    demo.generate(tmp_path / "site", seed=7, per_class=20)
    (tmp_path / "site/malignant/broken.jpg").write_bytes(b"nothing")
    scores = site_making.scored(job, model, version, str(tmp_path / "site"))
    profile = site_making.made(
        job, model, scores, site_making.Wanted("clinic-b", sensitivity=0.5), by="alice"
    )

    made = site_reference.of(store, model, profile)
    assert store.exists(site_reference.key_of(profile))
    assert len(made) == profile.images
    assert made.threshold == profile.threshold
    assert made.malignant.sum() == profile.malignant
    assert len(set(made.group)) <= profile.malignant_patients + profile.benign_patients
    assert made.embedding.shape[1] == reference.of(store, model, version).embedding.shape[1]

    request = scoring.Request(MODEL, "champion", str(tmp_path / "site"), "clinic-b")
    batch = scoring.plan(job, request)
    for chunk in scoring.chunks_of(job, batch):
        scoring.score(job, chunk)
    scoring.merge(job, batch)
    assert told() >= {"batches looked at", "images scored", "chunks gathered"}
    (found,) = score_log.batches(store, MODEL)
    (key,) = found.scores
    rows = score_log.read(store, key).set_index("image")
    names = tables.read_scores(store, load(store, scores, SiteScores).scores)["key"]
    rows = rows.loc[names]
    assert made.probability == pytest.approx(rows["probability"].to_numpy(), abs=1e-5)
    assert made.measures == pytest.approx(rows[list(NAMES)].to_numpy(), abs=1e-5)
    assert made.embedding == pytest.approx(np.stack(list(rows["embedding"])), abs=1e-2)

    monkeypatch.setattr(site_reference, "_made", None)  # it is read, and not made again
    assert site_reference.of(store, model, profile).threshold == profile.threshold
