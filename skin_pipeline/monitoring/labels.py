"""Labels that come back: from files of a folder or bucket to the images that were scored.

    news = bring_back(job, "s3://clinic/labels", "skin-resnet50")
    print(news.words)         # 41 labels of 39 images came back; 2 changed: …

Each file is read once. A file that cannot be used does not stop the others.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from skin_pipeline.contracts import LABELS, RefusedLabel, ReturnedLabel, ReturnedLabels, address
from skin_pipeline.data import kinds, label_files, metadata, returned, sources
from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import escaped
from skin_pipeline.job import Job
from skin_pipeline.monitoring import score_log
from skin_pipeline.progress import reported
from skin_pipeline.storage import Store, digest_file

log = logging.getLogger(__name__)

SHOWN = 5  # rows, files or images in a message


class Scored(NamedTuple):
    """An image in the log of scores: its name, its digest, and where it was."""

    name: str
    digest: str
    source: str


@dataclass
class News:
    """What came of an import.

    - `new` are labels of images that had none, `changed` are pairs of an image's label before and
      now, `pending` are labels of images that were not scored yet.
    - `refused` are rows that were not taken, and `problems` files, with the reasons.
    - `files` counts those that were read, and `known` those that were read earlier.
    - `copied` counts images that may become training data now, `gone` names those that are no
      longer where they were scored.
    """

    model: str
    files: int = 0
    known: int = 0
    new: list[ReturnedLabel] = field(default_factory=list)
    changed: list[tuple[ReturnedLabel, ReturnedLabel]] = field(default_factory=list)
    pending: list[ReturnedLabel] = field(default_factory=list)
    refused: list[tuple[str, RefusedLabel]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    blank: int = 0
    copied: int = 0
    gone: list[str] = field(default_factory=list)

    @property
    def anything(self) -> bool:
        """Whether what is known about an image is different now."""
        return bool(self.new or self.changed)

    @property
    def words(self) -> str:
        """Returns it in one sentence, what matters most first."""
        if not (self.files or self.new or self.problems):
            return f"No new file of labels ({_some(self.known, 'file')} read earlier)"
        counts = (
            (len(self.changed), f"{len(self.changed)} corrected"),
            (len(self.pending), f"{len(self.pending)} of images that were not scored yet"),
            (len(self.refused), f"{_some(len(self.refused), 'row')} not taken"),
            (len(self.problems), f"{_some(len(self.problems), 'file')} not read"),
            (self.blank, f"{_some(self.blank, 'row')} without a label"),
            (self.copied, f"{_some(self.copied, 'image')} kept for training"),
            (len(self.gone), f"{_some(len(self.gone), 'image')} gone"),
        )
        more = "".join(f", {words}" for count, words in counts if count)
        new, files = _some(len(self.new), "label"), _some(self.files, "file")
        return f"{new} came back for {self.model} from {files}{more}"


def bring_back(job: Job, source: str, model: str) -> News:
    """Reads the files of labels at a place that were not read before.

    Args:
        job: Its settings say what columns and values mean, and whether the images are kept.
        source: A file, a folder, or `s3://BUCKET/PREFIX`.
        model: The model that the images were scored with.

    Raises:
        BadInput: There is nothing at this place, or none of its files has labels.
        Unavailable: A server does not answer.
    """
    scored = scored_images(job.store, model)
    seen = label_files.Seen((item.name, item.digest) for item in scored)
    news = News(model)
    with _files(job, source) as files:
        reader = _Reader(job, seen, returned.documents(job.store, model), news)
        told = reported(files, "files of labels read", len(files))
        read = [said for item in told if (said := reader.read(item))]
    if news.problems and not (read or news.known):
        raise BadInput(f"no labels at {source}: {'; '.join(news.problems[:SHOWN])}")
    for said in _without_clashes(read):
        returned.keep(job.store, said)
    _take_late(job, model, seen)
    _gather(job, news)
    if job.settings.returned_labels == "use":
        _keep_images(job, model, scored, news)
    _log(news)
    return news


def scored_images(store: Store, model: str) -> list[Scored]:
    """Returns the images in the log of scores of a model, whether they have a probability or not.

    An image that was scored several times is there for each name that it had.
    """
    found: dict[tuple[str, str], Scored] = {}
    for batch in score_log.batches(store, model):
        for key in batch.scores:
            rows = score_log.read(store, key)[["image", "digest"]]
            for name, digest in rows.itertuples(index=False):
                if digest:
                    found.setdefault((name, digest), Scored(name, digest, batch.source))
    return list(found.values())


# --- files ----------------------------------------------------------------------------------------


@contextmanager
def _files(job: Job, source: str) -> Generator[list[sources.SourceFile], None, None]:
    """Yields the files at a place that may be tables."""
    remote = source.startswith("s3://")
    path = None if remote else job.roots.path(source)
    if path and not path.exists():
        raise BadInput(
            f"there is nothing at {source}. Give a file of labels, a folder of such files, or "
            "`s3://BUCKET/PREFIX`"
        )
    if path and path.is_file() and kinds.packed(path.suffix.lower(), _start(path)) != "zip":
        yield [sources.SourceFile(path.name, path)]
        return
    if path and path.suffix.lower() == ".xlsx":  # a workbook is a zip, too
        yield [sources.SourceFile(path.name, path)]
        return
    with sources.folder_of(job, source) as contents:
        for notice in contents.notices:
            log.warning('beside_the_labels what="%s"', notice)
        yield list(contents.tables)


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(kinds.HEAD)


@dataclass(frozen=True)
class _Reader:
    """Reads the files of one import; `known` is what earlier files said."""

    job: Job
    seen: label_files.Seen
    known: Sequence[ReturnedLabels]
    news: News

    def read(self, item: sources.SourceFile) -> ReturnedLabels | None:
        """Returns what a file says; None if it was read earlier or cannot be read."""
        labelling = metadata.Labelling.of(self.job.settings)
        sha256, how = digest_file(item.path), address(asdict(labelling))
        if any((said.sha256, said.labelling) == (sha256, how) for said in self.known):
            self.news.known += 1
            return None
        now = datetime.now(timezone.utc).isoformat()
        first = returned.first_read(self.known, sha256, now)
        try:
            said = label_files.read(item.path, item.name, self.seen, labelling, first)
        except BadInput as problem:
            log.warning('labels_not_read file="%s" problem="%s"', item.name, problem)
            self.news.problems.append(f"{item.name}: {problem}")
            return None
        about = {"model": self.news.model, "file": item.name, "sha256": sha256, "labelling": how}
        return ReturnedLabels(**about, at=now, run=self.job.run_id, **vars(said))


def _without_clashes(read: Sequence[ReturnedLabels]) -> list[ReturnedLabels]:
    """Refuses labels of an image that two files of one import give different labels.

    Nobody can know which of the files is the newer one. A third file with the right label is.
    """
    labels: dict[str, dict[str, str]] = defaultdict(dict)  # by image: each label, and its file
    for said in read:
        for row in (*said.taken, *said.pending):
            labels[label_files.subject(row)].setdefault(row.label, said.file)
    clash = {subject: found for subject, found in labels.items() if len(found) > 1}
    return [_without(said, clash) for said in read] if clash else list(read)


def _without(said: ReturnedLabels, clash: Mapping[str, Mapping[str, str]]) -> ReturnedLabels:
    def clear(rows: Iterable[ReturnedLabel]) -> tuple[ReturnedLabel, ...]:
        return tuple(row for row in rows if label_files.subject(row) not in clash)

    refused = [
        RefusedLabel(
            image=row.image,
            line=row.line,
            value=row.value,
            reason="has different labels in two files that were read together ("
            + ", ".join(
                f"{label} in {file}" for label, file in clash[label_files.subject(row)].items()
            )
            + "). Give a further file with the one that holds",
        )
        for row in (*said.taken, *said.pending)
        if label_files.subject(row) in clash
    ]
    update = {"taken": clear(said.taken), "pending": clear(said.pending)}
    return said.model_copy(update={**update, "refused": (*said.refused, *refused)})


def _take_late(job: Job, model: str, seen: label_files.Seen) -> None:
    """Takes the labels that were waiting for images which were scored since."""
    known = returned.documents(job.store, model)
    now = datetime.now(timezone.utc).isoformat()
    for said in returned.arrived(known, seen, run=job.run_id, now=now):
        returned.keep(job.store, said)
        log.info('labels_arrived file="%s" images=%d', said.file, len(said.taken))


def _gather(job: Job, news: News) -> None:
    """Finds out what the documents of this run changed, also those of an earlier try of it."""
    known = returned.documents(job.store, news.model)
    ours = [said for said in known if said.run == job.run_id]
    for said in ours:
        news.pending += [row for row in said.pending if row.label in LABELS]
        news.refused += [(said.file, row) for row in said.refused]
        news.blank += said.blank
    news.files = len({said.sha256 for said in ours})
    before = returned.newest(said for said in known if said.run != job.run_id)
    for digest, row in returned.newest(known).items():
        old = before.get(digest)
        if old is None:
            news.new.append(row)
        elif old.label != row.label:
            news.changed.append((old, row))


# --- images ---------------------------------------------------------------------------------------


def _keep_images(job: Job, model: str, scored: Sequence[Scored], news: News) -> None:
    """Copies the images whose label came back into the store, from where they were scored."""
    kept = returned.copies(job.store, model)
    wanted = {
        digest
        for digest, row in returned.current(job.store, model).items()
        if row.label in LABELS
        and digest not in kept
        and not job.store.exists(returned.gone_key(model, digest))
    }
    places: dict[str, list[Scored]] = defaultdict(list)
    for item in scored:
        if item.digest in wanted:
            places[item.source].append(item)
    for source, items in sorted(places.items()):
        wanted -= _copy(job, model, source, items)
        news.copied = len(returned.copies(job.store, model)) - len(kept)
    for item in scored:
        if item.digest in wanted:
            wanted.remove(item.digest)
            news.gone.append(item.name)
            job.store.put(returned.gone_key(model, item.digest), item.name.encode())


def _copy(job: Job, model: str, source: str, items: Sequence[Scored]) -> set[str]:
    """Copies the images of one source; returns the digests of those that are there."""
    names, digests = {item.name for item in items}, {item.digest for item in items}
    found = set()
    try:
        images = [one for one in sources.listed(job, source).images if escaped(one.name) in names]
        with sources.brought(job, source, images) as paths:
            for path in reported(paths.values(), "images copied", len(paths)):
                if (digest := digest_file(path)) in digests:
                    suffix = path.suffix.lower() if path.suffix.lower() in kinds.SUFFIXES else ""
                    job.store.put_file(returned.image_key(model, digest, suffix), path)
                    found.add(digest)
    except BadInput as problem:  # the folder was emptied, or may not be read any more
        log.warning('scored_source_not_readable source="%s" problem="%s"', source, problem)
    return found


# --- words ----------------------------------------------------------------------------------------


def _some(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _log(news: News) -> None:
    for old, row in news.changed:
        fields = (row.name or row.image, old.label, row.label, old.at[:10])
        log.warning('label_changed image="%s" was=%s is=%s since=%s', *fields)
    for file, refused in news.refused:
        where = (refused.image, file, refused.line, refused.reason)
        log.warning('label_not_taken image="%s" file="%s" line=%d reason="it %s"', *where)
    if news.pending:
        names = ", ".join(row.image for row in news.pending[:SHOWN])
        log.warning('labels_pending images=%d examples="%s"', len(news.pending), names)
    if news.gone:
        names = ", ".join(news.gone[:SHOWN])
        log.warning('images_gone images=%d examples="%s"', len(news.gone), names)
    log.info("labels_returned %s", news.words)
