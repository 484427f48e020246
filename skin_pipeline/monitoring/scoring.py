"""Batch scoring: what is new in a folder, a zip file or a bucket is scored once by a version.

    batch = plan(job, Request("skin-resnet50", "champion", "s3://clinic/new"))
    for chunk in chunks_of(job, batch):
        score(job, chunk)                       # in any order, on any machine
    told = merge(job, batch)                    # told.words: "40 images scored: …"

`plan` only lists the source. Each chunk fetches its images, leaves out those whose bytes are known,
and scores the rest by the version that the alias named when the batch was planned. `merge` writes
what belongs to the batch into the log of scores. Each of them does nothing if its result exists.

```
scoring/<model>/plans/<digest>.json             a `ScoringPlan`, one for each run
scoring/<model>/chunks/<digest>/chunk.json      a `ScoringChunk`
scoring/<model>/chunks/<digest>/result.json     a `ScoredChunk`, written last
scoring/<model>/tables/<batch>.csv              the rows of a batch, for people
```
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from skin_pipeline.contracts import (
    LABELS,
    RESULT,
    Batch,
    ScoredChunk,
    ScoringChunk,
    ScoringPlan,
    address,
    dump,
    load,
    parse,
)
from skin_pipeline.data import sources
from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import line
from skin_pipeline.job import Job
from skin_pipeline.monitoring import chunks, exporting, ledger, score_log
from skin_pipeline.progress import reported
from skin_pipeline.release import MODEL_FILE, Model, Registry, predict, sites
from skin_pipeline.storage import Store

log = logging.getLogger(__name__)

CHUNK = 500  # images; a task needs half a minute to start, and a minute for these
OF_PLAN = {"model", "alias", "version", "source", "run", "began_at", "site", "profile"}
SAID = (*LABELS, predict.UNSURE)  # of an image that has a probability
MOST_CHUNKS = 512  # of a batch: Airflow's scheduler makes a row of each at once


class Request(NamedTuple):
    """What is to be scored, by which alias of which model, and by the profile of which site."""

    model: str
    alias: str
    source: str
    site: str = ""


class Told(NamedTuple):
    """What became of a batch: in words, and the key of its `Batch`; empty if nothing was new."""

    words: str
    batch: str


# --- planning ------------------------------------------------------------------------------------


def plan(job: Job, request: Request, most: int = MOST_CHUNKS) -> str:
    """Lists what is new in a source, and divides it into chunks. Returns the key of the plan.

    A run has one plan: called again, this returns the same one.

    Args:
        job: The run; its `run_id` names the batch.
        request: What to score, and by what.
        most: The most chunks that there may be.

    Raises:
        BadInput: There is no such model, alias or profile, or the source is none or may not be
            read.
        Unavailable: The source or the store does not answer.
    """
    _refuse_empty(request)
    key = f"{score_log.FOLDER}/{request.model}/plans/{address({'run': job.run_id})}.json"
    if job.store.exists(key):
        log.info("planned_already key=%s: the batch of this run is not listed again", key)
    else:
        model = Registry.of(job.store, job.deployment).model(request.model)
        job.store.put(key, dump(_planned(job, request, model, most)))
    _tell(planned(job.store, key))
    return key


def planned(store: Store, batch: str) -> ScoringPlan:
    """Returns the plan with this key."""
    return parse(store.read(batch), ScoringPlan, batch)


def chunks_of(job: Job, batch: str) -> list[str]:
    """Returns the keys of the chunks of a plan."""
    return list(planned(job.store, batch).chunks)


def counted(images: int) -> str:
    """Returns a number of images, in words."""
    return "1 image" if images == 1 else f"{images:,} images"


def size_of(job: Job, chunk: str) -> int:
    """Returns how many images a chunk has."""
    return len(parse(job.store.read(f"{chunk}/{chunks.TODO}"), ScoringChunk, chunk).images)


def _refuse_empty(request: Request) -> None:
    if not request.source.strip():
        raise BadInput(
            "source is empty, so there is nothing to score. Enter a folder, a zip file or "
            "s3://BUCKET/PREFIX, or set SKIN_SCORING_SOURCE for all runs"
        )


def _planned(job: Job, request: Request, model: Model, most: int) -> ScoringPlan:
    version = predict.named(model, request.alias)
    # Whether they may be used is seen before anything is listed.
    release, profile = model.release(version), None
    if request.site:
        known_sites = sites.Profiles.of(model, version)
        profile = known_sites.in_use(request.site, release.files.get(MODEL_FILE, ""))
    sites.log_threshold(release.threshold, profile)
    source = request.source.strip().rstrip("/") or "/"
    job.fetch()
    listing = sources.listed(job, source)
    known = ledger.read(job.store, model.name, ledger.scorer(version, request.site))
    new = [
        one
        for one in listing.images
        if not known.holds(ledger.place_of(source, one.name, one.state))
    ]
    if new:
        chunks.reference_of(job, model, version)  # made here, before many tasks would make it
    common = {
        **request._asdict(),
        **{"source": source, "version": version, "run": job.run_id, "began_at": job.moment},
        "profile": profile.number if profile else 0,
    }
    return ScoringPlan(
        **common,
        chunks=tuple(_put_chunk(job, common, part) for part in _divided(new, most)),
        images=len(new),
        known=len(listing.images) - len(new),
        skipped=tuple(map(str, listing.notices)),
    )


def _divided(images: list[sources.Listed], most: int) -> Iterator[list[sources.Listed]]:
    """Yields the images in chunks of `CHUNK`, or of more if they would be too many chunks."""
    size = max(CHUNK, -(-len(images) // max(1, most)))
    for start in range(0, len(images), size):
        yield images[start : start + size]


def _put_chunk(job: Job, common: dict[str, Any], images: list[sources.Listed]) -> str:
    made = ScoringChunk(**common, images=tuple(tuple(one) for one in images))
    name = address(made.model_dump(mode="json"))
    key = f"{score_log.FOLDER}/{made.model}/chunks/{name}"
    job.store.put(f"{key}/{chunks.TODO}", dump(made))
    return key


def _tell(made: ScoringPlan) -> None:
    for notice in made.skipped:
        log.warning('not_scored what="%s"', notice)
    log.info(
        "scoring_planned model=%s version=%s new=%d known=%d chunks=%d",
        *(made.model, made.version, made.images, made.known, len(made.chunks)),
    )


# --- scoring -------------------------------------------------------------------------------------


def score(job: Job, chunk: str) -> str:
    """Scores the images of a chunk that are new. Returns what it did, in words.

    Raises:
        BadInput: The version is not there or may not be used any more.
        Unavailable: The source or the store does not answer.
    """
    if job.store.exists(f"{chunk}/{RESULT}"):
        log.info("scored_already key=%s", chunk)
    else:
        job.store.put(f"{chunk}/{RESULT}", dump(chunks.scored(job, chunk)))
    return _in_words(Counter(load(job.store, chunk, ScoredChunk).counts))


# --- merging -------------------------------------------------------------------------------------


class _Part(NamedTuple):
    """What a chunk brings into the log: the key of its rows, and their counts."""

    rows: str
    counts: Counter[str]


def merge(job: Job, batch: str) -> Told:
    """Writes the `Batch` of a plan from the chunks that were scored.

    Chunks that failed stay out: their images are new to the next batch. If they succeed later, this
    can be called again, and writes a further `Batch` with them.

    Raises:
        BadInput: Chunks have no result. The others are in the log by then.
    """
    whole = planned(job.store, batch)
    done = {
        key: load(job.store, key, ScoredChunk)
        for key in reported(whole.chunks, "chunks gathered", len(whole.chunks))
        if job.store.exists(f"{key}/{RESULT}")
    }
    told = _recorded(job, whole, _parts(job, whole, done))
    log.info('scoring_merged model=%s what="%s"', whole.model, told.words)
    if missing := len(whole.chunks) - len(done):
        raise BadInput(
            f"{missing} of {len(whole.chunks)} chunks could not be scored; their logs say why. "
            f"The others are kept ({told.words}). Clear the failed chunks to try them again; the "
            "next batch takes their images as well"
        )
    return told


def _parts(job: Job, whole: ScoringPlan, done: Mapping[str, ScoredChunk]) -> list[_Part]:
    found = {
        key.rpartition("/")[2]: [ledger.Entry(*entry) for entry in result.seen]
        for key, result in done.items()
    }
    scorer = ledger.scorer(whole.version, whole.site)
    owned = ledger.claim(job.store, whole.model, scorer, found)
    return [
        _part(job, whole.model, result, own)
        for result, own in zip(done.values(), owned.values(), strict=True)
    ]


def _part(job: Job, model: str, result: ScoredChunk, own: set[str]) -> _Part:
    """Returns what no other chunk has brought into the log."""
    if own.issuperset(result.ids):
        return _Part(result.rows, Counter(result.counts))
    rows = score_log.read(job.store, result.rows)
    ours = rows[[image in own for image in result.ids]]
    counts = Counter(ours["label"].where(ours["probability"].notna(), "unreadable"))
    counts["known"] = result.counts["known"] + len(rows) - len(ours)
    counts["gone"] = result.counts["gone"]
    return _Part("" if ours.empty else score_log.keep(job.store, model, ours), counts)


def _recorded(job: Job, whole: ScoringPlan, parts: Sequence[_Part]) -> Told:
    """Records what is not in the log yet; nothing the second time, and with the same words."""
    before = score_log.of_run(job.store, whole.model, whole.began_at, whole.run)
    recorded = {key for item in before.values() for key in item.scores}
    new = [part for part in parts if part.rows and part.rows not in recorded]
    counts = _sum(parts) + Counter(known=whole.known)
    if not new:
        return Told(_told(whole, counts), max(before, default=""))
    fresh = counts if not before else _sum(new)
    made = Batch(
        **whole.model_dump(include=OF_PLAN),
        scores=tuple(part.rows for part in new),
        images=sum(fresh[label] for label in SAID),
        unreadable=fresh["unreadable"],
        known=fresh["known"],
        ended_at=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    key = score_log.record(job.store, made)
    table = exporting.table_of(job.store, made, key)
    log.info("scores_written batch=%s table=%s", key, job.store.link(table))
    return Told(_told(whole, counts), key)


def _sum(parts: Sequence[_Part]) -> Counter[str]:
    return sum((part.counts for part in parts), Counter())


def _told(whole: ScoringPlan, counts: Counter[str]) -> str:
    by = f"by version {whole.version} ({whole.alias} of {whole.model})"
    by += f" with profile {whole.profile} of site {whole.site}" if whole.site else ""
    return line(f"{_in_words(counts)}; {by}, from {whole.source}")


def _in_words(counts: Counter[str]) -> str:
    """Returns counts for people: `40 images scored: 28 benign, 12 malignant; 2 unreadable`.

    `unsure` is told only where there are such images: most versions decide on every image.
    """
    total = sum(counts[label] for label in SAID)
    told = [label for label in SAID if label in LABELS or counts[label]]
    called = ", ".join(f"{counts[label]} {label}" for label in told)
    parts = [f"{counted(total)} scored: {called}" if total else "no image scored"]
    more = {
        "unreadable": "unreadable",
        "known": "known already",
        "gone": "gone or changed since the batch was planned",
    }
    parts += [f"{counts[kind]} {words}" for kind, words in more.items() if counts[kind]]
    return "; ".join(parts)
