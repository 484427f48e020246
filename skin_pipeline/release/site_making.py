"""Makes a profile from a place with labelled images of a site.

key = scored(job, model, version, "s3://clinic-b/labelled")      # fetches, decodes, scores
profile = made(job, model, key, Wanted("clinic-b"), by="alice")  # fits, writes

What a version says of a set of images is a result like those of the steps: made once, and found
again by the next try.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from skin_pipeline import tables
from skin_pipeline.config import REGIONS, ThresholdBy
from skin_pipeline.contracts import (
    Dataset,
    SiteProfile,
    SiteScores,
    Validation,
    Verdict,
    load,
)
from skin_pipeline.data import duplicates, ingesting, manifest
from skin_pipeline.errors import BadInput
from skin_pipeline.evaluation import scoring
from skin_pipeline.intervals import Floats
from skin_pipeline.job import Job, Work
from skin_pipeline.progress import reported
from skin_pipeline.release.predict import BATCH, Scorer, resolve
from skin_pipeline.release.registry import Model
from skin_pipeline.release.sites.operating import (
    Aim,
    Labelled,
    OperatingPoint,
    operating_point,
)
from skin_pipeline.release.sites.profiles import WIDTH, Profiles
from skin_pipeline.release.versions import MODEL_FILE
from skin_pipeline.storage import digest
from skin_pipeline.training import inputs
from skin_pipeline.versions import VERSIONS

log = logging.getLogger(__name__)

STEP, VERSION = "site", 1  # raised when the same images give other scores
SHOWN = 5  # names in a message
# Fields that a profile has from the scores, and from the operating point.
OF_SCORES = (
    *("model", "version", "model_sha256", "source", "dataset", "unreadable", "known"),
    "images_sha256",
)
OF_POINT = ("threshold", "auc", "before", "after", "needed_malignant", "needed_benign")


class Wanted(NamedTuple):
    """What is asked of a profile; None for what the version was made with.

    Attributes:
        site: Its name.
        sensitivity: To be reached there.
        by: What must reach it.
        width: To which the figures should be known.
    """

    site: str
    sensitivity: float | None = None
    by: ThresholdBy | None = None
    width: float = WIDTH


# --- scoring -------------------------------------------------------------------------------------


def scored(job: Job, model: Model, version: str, source: str) -> str:
    """Scores labelled images of a site; returns the key of the `SiteScores`.

    Images are fetched, read and quarantined as those of external sets are, and brought to what the
    version sees of an image. Those that its own data contains are left out.

    Args:
        job: The job; its settings say what labels mean.
        model: The model.
        version: A published version of it.
        source: A folder, a zip, a Kaggle data set, or `s3://BUCKET/PREFIX`.

    Raises:
        BadInput: There are no labelled images, or the version or what it was made from is not
            there.
        Unavailable: The source or the store does not answer.
    """
    verdict = _verdict(job, model, version)
    scorer = Scorer.of(resolve(model, version), job.threads, job.deployment.scoring_engine)
    seen = scorer.geometry
    sight: dict[str, Any] = {
        "image_size": seen.size,
        "field_of_view": seen.field_of_view,
        "regions": REGIONS[seen.regions - 1],
    }
    external = {"columns": "", "returned_labels": "leave_out"}  # as external sets are read
    settings = job.settings.model_copy(update={**sight, **external})
    job = replace(job, settings=settings)
    dataset = ingesting.data_set(job, VERSIONS["ingest"], source, settings)
    by = {"model": model.name, "released": version, "file": scorer.release.files[MODEL_FILE]}
    images = {"dataset": dataset, "validation": verdict.validation}

    def make(work: Work) -> SiteScores:
        return _scores(work, scorer, dataset, verdict.validation)

    key = job.once(STEP, VERSION, {**images, **by}, make)
    found = job.load(key, SiteScores)
    log.info(
        "site_scored version=%s images=%d unreadable=%d known=%d",
        *(version, found.images, found.unreadable, found.known),
    )
    return key


def _scores(work: Work, scorer: Scorer, dataset: str, validation: str) -> SiteScores:
    table, known = _unknown(work, dataset, validation)
    table = table.assign(probability=_probabilities(work, scorer, dataset)[table.index])
    found, release = work.load(dataset, Dataset), scorer.release
    return SiteScores(
        model=release.model,
        version=release.version,
        model_sha256=release.files[MODEL_FILE],
        source=found.source,
        dataset=dataset,
        scores=work.put_table("scores.csv", table),
        images=len(table),
        unreadable=found.unreadable,
        known=known,
        images_sha256=_identity(table),
    )


def _verdict(job: Job, model: Model, version: str) -> Verdict:
    try:
        return job.load(model.release(version).verdict, Verdict)
    except BadInput as error:
        raise BadInput(
            f"a profile needs what version {version} of {model.name} was made from, to leave out "
            f"images that it knows: {error}"
        ) from None


def _unknown(work: Work, dataset: str, validation: str) -> tuple[pd.DataFrame, int]:
    """Returns the images of a data set that a version's own data does not contain, and how many it
    does."""
    theirs = work.load(dataset, Dataset)
    own = work.load(validation, Validation)
    known = work.load(own.dataset, Dataset)
    work.job.expect("duplicates", theirs.images + known.images)
    side = duplicates.Side.of(work.store, theirs)
    mine = duplicates.Side.read(
        work.store, manifest.read(work.store, own.table, _SEARCHED), known.thumbnails
    )
    pairs = duplicates.between(mine, side, work.threads)
    keys = set(side.table["key"][sorted({pair.second for pair in pairs})])
    if keys:
        names = ", ".join(sorted(keys)[:SHOWN]) + (", …" if len(keys) > SHOWN else "")
        log.warning('site_images_known count=%d images="%s"', len(keys), names)
    table = scoring.external_table(work, dataset)
    files = manifest.read_readable(work.store, theirs.table, ["sha256"])["sha256"]
    # An image that is there twice counts once, as that of one patient.
    alone = table["group"] == table["key"]
    table = table.assign(sha256=files, group=table["group"].mask(alone, "file:" + files))
    return table[~table["key"].isin(keys)], len(keys)


_SEARCHED = ("key", *duplicates.SEARCHED)


def _probabilities(work: Work, scorer: Scorer, dataset: str) -> Floats:
    """Returns the probability of each readable image of a data set (n,), by a version itself."""
    found = work.load(dataset, Dataset)
    count = found.images - found.unreadable
    work.job.expect("score", count)
    return np.concatenate([np.empty(0), *_batches(work, scorer, found.shards, count)])


def _batches(work: Work, scorer: Scorer, shards: Sequence[str], count: int) -> Iterator[Floats]:
    squares = inputs.Squares(work.store, shards) if count else None
    starts = range(0, count, BATCH)
    for start in reported(starts, "batches scored", len(starts)):
        assert squares  # of no images there is no batch
        rows = np.arange(start, min(start + BATCH, count))
        yield np.asarray(scorer.forward(squares.pixels(rows)), np.float64)[:, 0]


def _identity(table: pd.DataFrame) -> str:
    """Returns the digest of images, labels and groups, in whatever order."""
    rows = table[["sha256", "label", "group"]].itertuples(index=False)
    return digest("\n".join(sorted("\t".join(row) for row in rows)).encode())


# --- fitting -------------------------------------------------------------------------------------


def made(job: Job, model: Model, key: str, wanted: Wanted, *, by: str) -> SiteProfile:
    """Fits the profile of a site to scored images, and writes it; see `operating.operating_point`.

    Args:
        job: The job.
        model: The model.
        key: Of the `SiteScores`.
        wanted: What is asked of the profile.
        by: Who makes it.

    Raises:
        BadInput: There are too few images, or the profile must be signed and cannot be.
    """
    found = load(job.store, key, SiteScores)
    settings = _verdict(job, model, found.version).settings
    aim = Aim(
        settings["target_sensitivity"] if wanted.sensitivity is None else wanted.sensitivity,
        wanted.by or settings.get("threshold_by", "point"),
        wanted.width,
    )
    table = tables.read_scores(job.store, found.scores)
    labelled = Labelled(
        table["probability"].to_numpy(np.float64),
        manifest.labels(table),
        table["group"].to_numpy(object),
    )
    try:
        point = operating_point(labelled, aim, model.release(found.version).threshold)
    except BadInput as error:
        raise BadInput(f"site {wanted.site}: {error}{_left_out(found)}") from None
    profile = SiteProfile(
        **{name: getattr(found, name) for name in OF_SCORES},
        **_facts(labelled, aim, point),
        scores=key,
        site=wanted.site,
        number=1,
        made_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        by=by,
    )
    return Profiles.of(model, found.version).add(profile)


def _facts(labelled: Labelled, aim: Aim, point: OperatingPoint) -> dict[str, Any]:
    """Returns the fields of a profile that say what was found, and from how much."""
    return {
        **point.recalibration._asdict(),
        **{name: getattr(point, name) for name in OF_POINT},
        "target_sensitivity": aim.sensitivity,
        "threshold_by": aim.by,
        "width": aim.width,
        "malignant": int((labelled.labels == 1).sum()),
        "benign": int((labelled.labels == 0).sum()),
        "malignant_patients": labelled.patients(1),
        "benign_patients": labelled.patients(0),
    }


def _left_out(found: SiteScores) -> str:
    parts = [
        f"{found.unreadable} unreadable images" if found.unreadable else "",
        f"{found.known} that the version's own data contains" if found.known else "",
    ]
    told = " and ".join(filter(None, parts))
    return f". Not counted: {told}" if told else ""
