"""Scores images and writes a table of the scores: the command `predict`.

score(job, ["lesions/"], model="champion", model_name="", output=Path("scores.csv"))
"""

from __future__ import annotations

import csv
import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TextIO

from skin_pipeline.data import disk, sources
from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import defused_all, escaped, line
from skin_pipeline.job import Job
from skin_pipeline.model_file import loading
from skin_pipeline.progress import beside_bars, reported
from skin_pipeline.release.predict import (
    UNSURE,
    Prediction,
    Resolved,
    beside,
    predict,
    resolve,
)
from skin_pipeline.release.registry import Registry
from skin_pipeline.release.sites.profiles import log_threshold

log = logging.getLogger(__name__)

CSV, PARQUET = ".csv", ".parquet"
GROUP = 10_000  # rows that are in memory at once; a row group of Parquet


class Counts(NamedTuple):
    """How many images there were, how many have no score, and how many a score and no decision."""

    images: int
    unreadable: int
    unsure: int


def score(
    job: Job,
    places: Sequence[str],
    *,
    model: str,
    model_name: str,
    output: Path | None,
    site: str = "",
) -> Counts:
    """Writes a row for each image, in order: the fields of `Prediction`.

    In CSV, a text that a spreadsheet would read as a formula gets an apostrophe in front.

    Args:
        job: Has the store with the models, and the access to S3.
        places: Files, folders, zips, `s3://BUCKET/PREFIX`, `@LIST`; see `sources.files_at`.
        model: A `.keras` file with its manifest beside it, a version, or an alias.
        model_name: The model of that version or alias; "" for the one that the settings name.
        output: A `.csv` or `.parquet` file, which appears whole or not at all; None for CSV on the
            standard output. What is missing in a row is empty in CSV, null in Parquet.
        site: The site that the images are from, whose profile is used; without one, the log says
            that the threshold is not validated for them.

    Raises:
        BadInput: there is no such model or profile, a place has no images, or the output has
            another suffix or cannot be written.
        Unavailable: a server does not answer.
    """
    if output and output.suffix.lower() not in {CSV, PARQUET}:
        raise BadInput(f"--output must end in {CSV} or {PARQUET}. Received: {output}")
    resolved = _model(job, model, model_name or job.settings.released_as, site)
    log.info("model name=%s version=%s", resolved.release.model, resolved.release.version)
    log_threshold(resolved.release.threshold, resolved.profile)
    scored: Counter[str] = Counter()
    with sources.files_at(job, places) as files:
        _save(_rows(job, files, resolved, scored), output, resolved)
    counts = Counts(scored.total(), scored[""], scored[UNSURE])
    log.info("predicted images=%d unreadable=%d unsure=%d", *counts)
    return counts


def _model(job: Job, model: str, name: str, site: str) -> Resolved:
    if not model.endswith(loading.SUFFIX):
        return resolve(Registry.of(job.store, job.deployment).model(name), model, site)
    if site:
        raise BadInput(
            f"--site {site} needs a version of the store, which has the profiles. Received: "
            f"--model {model}"
        )
    return beside(Path(model).expanduser(), job.keys)


def _rows(
    job: Job, files: Sequence[sources.SourceFile], model: Resolved, scored: Counter[str]
) -> Iterator[Prediction]:
    """Yields a row for each file; `scored` counts the labels, "" for no score."""
    paths, engine = (item.path for item in files), job.deployment.scoring_engine
    rows = predict(paths, model, threads=job.threads, engine=engine)
    pairs = zip(files, rows, strict=True)
    for item, row in reported(pairs, "images scored", len(files)):
        scored[row.label] += 1
        yield row._replace(image=escaped(item.name), problem=line(row.problem))


def _save(rows: Iterator[Prediction], output: Path | None, model: Resolved) -> None:
    if output is None:
        _to_csv(rows, beside_bars(sys.stdout))
        return
    # Rows are scored inside the block only: if the file cannot be written, nothing was in vain.
    with disk.appearing(output) as part:
        if output.suffix.lower() == PARQUET:
            _to_parquet(rows, part, model)
        else:
            with part.open("w", newline="", encoding="utf-8") as sink:
                _to_csv(rows, sink)


def _to_csv(rows: Iterable[Prediction], sink: TextIO) -> None:
    table = csv.writer(sink, lineterminator="\n")
    table.writerow(Prediction._fields)
    for row in rows:
        probability, familiarity = (
            "" if value is None else f"{value:.6f}" for value in (row.probability, row.familiarity)
        )
        table.writerow(defused_all((row.image, probability, row.label, row.problem, familiarity)))


def _to_parquet(rows: Iterator[Prediction], path: Path, model: Resolved) -> None:
    """Writes one row group after the other. The file's metadata name the model, and the site."""
    import pyarrow as arrow
    from pyarrow import parquet

    facts = {"model": model.release.model, "version": model.release.version}
    facts |= {"threshold": str(model.threshold)}
    facts |= {"site": model.profile.site} if model.profile else {}
    kinds = dict.fromkeys(Prediction._fields, arrow.string())
    kinds |= dict.fromkeys(("probability", "familiarity"), arrow.float64())
    schema = arrow.schema(kinds, metadata=facts)
    with path.open("wb") as file, parquet.ParquetWriter(file, schema) as sink:
        while group := list(islice(rows, GROUP)):
            table = [{k: v for k, v in row._asdict().items() if v != ""} for row in group]
            sink.write_table(arrow.Table.from_pylist(table, schema))
