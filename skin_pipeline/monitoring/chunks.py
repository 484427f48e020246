"""One chunk of a batch: its images are fetched, those that are known left out, the others scored.

    result = scored(job, "scoring/skin-resnet50/chunks/4f1a…")

The probability, the measures and the embedding of an image come from one decoding and one pass of
the network. What is wrong with an image is in its row, and stops no other image.
"""

from __future__ import annotations

import errno
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from skin_pipeline.contracts import ScoredChunk, ScoringChunk, parse
from skin_pipeline.data import sources
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.foreign import escaped, line
from skin_pipeline.geometry import region
from skin_pipeline.job import Job
from skin_pipeline.monitoring import ledger, reference, score_log
from skin_pipeline.monitoring.measures import measure
from skin_pipeline.progress import reported
from skin_pipeline.release import Model, Registry, predict
from skin_pipeline.storage import digest_file

log = logging.getLogger(__name__)

TODO = "chunk.json"  # beside the result


class _Image(NamedTuple):
    """An image of a chunk that was fetched.

    `digest` is the SHA-256 of its file, and empty if that may not be read.
    """

    name: str
    path: Path
    place: str
    digest: str

    @property
    def id(self) -> str:
        return self.digest or self.place


def scored(job: Job, key: str) -> ScoredChunk:
    """Scores the images of a chunk, and writes their rows.

    Raises:
        BadInput: The version cannot be used, or the source may no longer be read.
        Unavailable: The source, the store or the disk does not answer.
    """
    chunk = parse(job.store.read(f"{key}/{TODO}"), ScoringChunk, key)
    model = Registry.of(job.store, job.deployment).model(chunk.model)
    listed = [sources.Listed(*image) for image in chunk.images]
    with sources.brought(job, chunk.source, listed) as paths:
        job.expect("score", len(paths))
        images = list(_found(chunk, listed, paths))
        scorer = ledger.scorer(chunk.version, chunk.site)
        new = _new(images, ledger.read(job.store, chunk.model, scorer))
        rows = list(_rows(job, model, chunk, new)) if new else []
    counts = Counter(row["label"] or "unreadable" for row in rows)
    counts["known"], counts["gone"] = len(images) - len(new), len(listed) - len(images)
    ids = {image.name: image.id for image in images}
    return ScoredChunk(
        rows=_kept(job, chunk.model, rows),
        ids=tuple(ids[row["image"]] for row in rows),
        seen=tuple((image.place, image.id) for image in images),
        counts=dict(counts),
    )


def reference_of(job: Job, model: Model, version: str) -> reference.Reference | None:
    """Returns what embeds the features of a version; None for a version without a reference."""
    try:
        return reference.of(job.store, model, version)
    except BadInput as error:  # such as one that was copied here without its results
        log.warning('no_reference version=%s so embeddings stay empty: "%s"', version, line(error))
        return None


def _found(
    chunk: ScoringChunk, listed: list[sources.Listed], paths: Mapping[str, Path]
) -> Iterator[_Image]:
    """Yields the images that are still there."""
    for one in reported(listed, "files compared", len(listed)):
        path = paths.get(one.name)
        found = None if path is None else _digest(path)
        if path is not None and found is not None:
            place = ledger.place_of(chunk.source, one.name, one.state)
            yield _Image(one.name, path, place, found)


def _digest(path: Path) -> str | None:
    """Returns the SHA-256 of a file; "" if it may not be read, None if it is gone.

    Raises:
        Unavailable: The disk fails, which says nothing of the image.
    """
    try:
        return digest_file(path)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            return None
        if error.errno in {errno.EACCES, errno.EPERM}:
            return ""
        reason = f"{line(path.name)} could not be read ({error.strerror})"
        raise Unavailable(f"{reason}. See whether its disk or network still answers") from None


def _new(images: list[_Image], known: ledger.Known) -> list[_Image]:
    """Returns the first image of each id that was not scored yet."""
    first: dict[str, _Image] = {}
    for image in images:
        if image.id not in known.owners:
            first.setdefault(image.id, image)
    return list(first.values())


def _rows(
    job: Job, model: Model, chunk: ScoringChunk, images: list[_Image]
) -> Iterator[dict[str, Any]]:
    """Yields the row of each image."""
    by = predict.resolve(model, chunk.version, chunk.site, chunk.profile)
    scorer = predict.Scorer.of(by, job.threads, job.deployment.scoring_engine)
    known = reference_of(job, model, chunk.version)
    common = {
        "model": chunk.model,
        "version": chunk.version,
        "alias": chunk.alias,
        "batch": chunk.run,
        "threshold": scorer.threshold,
        "site": chunk.site,
    }
    looks = scorer.look(image.path for image in images)
    pairs = zip(images, looks, strict=True)
    for image, look in reported(pairs, "images scored", len(images)):
        yield {**common, **_row(image, look, known)}


def _row(image: _Image, look: predict.Look, known: reference.Reference | None) -> dict[str, Any]:
    prediction = look.prediction
    row = {
        "image": image.name,
        "digest": image.digest,
        "scored_at": datetime.now(timezone.utc),
        "probability": prediction.probability,
        "label": prediction.label,
        "abstained": prediction.label == predict.UNSURE,
        # The column beside it has the name in the source; the path here may be a temporary one.
        "problem": line(prediction.problem.removeprefix(f"{line(image.path.name)}: ")),
    }
    if prediction.probability is None or look.pixels is None:
        return row
    if known is not None and known.space.channels and look.features is not None:
        row["embedding"] = known.embed(look.features[None])[0]
    return {**row, **measure(region(look.pixels))}


def _kept(job: Job, model: str, rows: list[dict[str, Any]]) -> str:
    """Writes rows; returns their key, or "" if there are none."""
    if not rows:
        return ""
    import pandas as pd

    table = pd.DataFrame(rows)
    return score_log.keep(job.store, model, table.assign(image=table["image"].map(escaped)))
