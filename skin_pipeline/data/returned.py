"""Labels that came back for images that were scored: kept, looked up, used for training.

    keep(store, said)                                # what one file said
    current(store, "skin-resnet50")["4f1a…"].label   # the label of an image that holds now

```
labels/<model>/read/<time>-<digest>.json    what one file said; written once
labels/<model>/images/<sha256>.jpg          a copy of an image, if it may become training data
labels/<model>/gone/<sha256>                a mark: there is no such image where it was scored
```

Nothing is ever changed. Of two labels of an image, the one of the file that was read later holds.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from skin_pipeline.contracts import (
    LABELS,
    Notice,
    ReturnedLabel,
    ReturnedLabels,
    address,
    dump,
    parse,
    stamp,
)
from skin_pipeline.data.label_files import Seen
from skin_pipeline.data.metadata.columns import IDS, METADATA
from skin_pipeline.data.metadata.reader import Known
from skin_pipeline.data.metadata.values import plain_value, without_fraction
from skin_pipeline.data.sources.found import Found, Images
from skin_pipeline.progress import reported
from skin_pipeline.storage import Store, scratch

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

FOLDER = "labels"


def documents(store: Store, model: str) -> list[ReturnedLabels]:
    """Returns what all files said, in the order in which they were read.

    Raises:
        BadInput: A document is damaged.
    """
    keys = store.list(f"{FOLDER}/{model}/read")
    found = [parse(store.read(key), ReturnedLabels, key) for key in keys]
    return sorted(found, key=lambda item: item.at)


def first_read(known: Iterable[ReturnedLabels], sha256: str, now: str) -> str:
    """Returns when a file was read first: a label is as old as that, however it is read later."""
    return min((said.at for said in known if said.sha256 == sha256), default=now)


def keep(store: Store, said: ReturnedLabels) -> None:
    """Writes what a file said."""
    images = [row.digest for row in said.taken]
    identity = {"file": said.sha256, "labelling": said.labelling, "taken": images}
    store.put(f"{FOLDER}/{said.model}/read/{stamp(said.at)}-{address(identity)}.json", dump(said))


def history(known: Iterable[ReturnedLabels]) -> dict[str, list[ReturnedLabel]]:
    """Returns all labels of each image, by its digest, oldest first."""
    found: dict[str, list[ReturnedLabel]] = defaultdict(list)
    for row in sorted((row for said in known for row in said.taken), key=lambda row: row.at):
        found[row.digest].append(row)
    return dict(found)


def current(store: Store, model: str) -> dict[str, ReturnedLabel]:
    """Returns the label of each image that holds now, by the image's digest.

    `neither` is among them: such an image is of no class.
    """
    return newest(documents(store, model))


def newest(known: Iterable[ReturnedLabels]) -> dict[str, ReturnedLabel]:
    """Returns the newest label of each image, by the image's digest."""
    return {digest: rows[-1] for digest, rows in history(known).items()}


def waiting(known: Sequence[ReturnedLabels]) -> list[tuple[ReturnedLabels, ReturnedLabel]]:
    """Returns the labels whose image was not known, and which nobody has taken since."""
    done = {(said.sha256, row.line, row.image) for said in known for row in said.taken}
    found = {
        (said.sha256, row.line, row.image): (said, row) for said in known for row in said.pending
    }
    return [item for place, item in found.items() if place not in done]


def arrived(
    known: Sequence[ReturnedLabels], seen: Seen, *, run: str, now: str
) -> Iterator[ReturnedLabels]:
    """Yields a document for each file whose pending labels are about images that are known now.

    A name that two images have by now stays pending.
    """
    files: dict[str, tuple[ReturnedLabels, list[ReturnedLabel]]] = {}
    for said, row in waiting(known):
        digests = seen.digests(row.digest or row.image)
        if len(digests) == 1:
            (digest,) = digests
            name = seen.name_of[digest]
            files.setdefault(said.sha256, (said, []))[1].append(
                row.model_copy(update={"digest": digest, "name": name})
            )
    for said, rows in files.values():
        update = {"taken": tuple(rows), "pending": (), "refused": (), "blank": 0}
        update |= {"run": run, "at": now}
        yield said.model_copy(update=update)


def image_key(model: str, digest: str, suffix: str = "") -> str:
    """Returns the key of the copy of an image; its last part names its bytes."""
    return f"{FOLDER}/{model}/images/{digest}{suffix}"


def gone_key(model: str, digest: str) -> str:
    """Returns the key of the mark that an image was searched for in vain."""
    return f"{FOLDER}/{model}/gone/{digest}"


def copies(store: Store, model: str) -> dict[str, str]:
    """Returns the key of the copy of each image that there is one of, by the image's digest."""
    keys = store.list(f"{FOLDER}/{model}/images")
    return {key.rpartition("/")[2][:64]: key for key in keys}


# --- training ------------------------------------------------------------------------------------


class Returned(NamedTuple):
    """Images whose label came back, as files, and the label of each."""

    files: tuple[Found, ...]
    labels: tuple[ReturnedLabel, ...]
    notices: tuple[Notice, ...]

    @property
    def digest(self) -> str:
        """What the data set is made from, beside its own images."""
        return address({"labels": [[row.digest, row.label, row.facts] for row in self.labels]})


@contextmanager
def beside(store: Store, model: str, ours: Mapping[str, str]) -> Generator[Returned, None, None]:
    """Yields the images that a data set gets in addition; they exist until the block ends.

    Images of neither class, without a copy in the store, or that the data set contains already are
    left out, and notices say so.

    Args:
        store: The store.
        model: The model that the images were scored with.
        ours: The class of each of the data set's own images, by its digest.
    """
    labels = current(store, model)
    kept = copies(store, model)
    wanted = {digest: row for digest, row in sorted(labels.items()) if row.label in LABELS}
    new = [row for digest, row in wanted.items() if digest in kept and digest not in ours]
    with scratch() as folder:
        told = reported(new, "images fetched", len(new))
        files = tuple(_file(store, kept[row.digest], row.label, folder) for row in told)
        found = Returned(files, tuple(new), tuple(_notices(wanted, ours, kept)))
        log.info("returned_used model=%s labels=%d images=%d", model, len(labels), len(new))
        for notice in found.notices:  # also where the data set exists already
            log.warning('returned_not_used what="%s"', notice)
        yield found


def _file(store: Store, key: str, label: str, folder: Path) -> Found:
    name = PurePosixPath(key).name
    path = folder / name
    path.write_bytes(store.read(key))  # which compares them with the digest in the key
    return Found(label, f"returned/{label}/{name}", path)


def _notices(
    wanted: Mapping[str, ReturnedLabel], ours: Mapping[str, str], kept: Mapping[str, str]
) -> Iterator[Notice]:
    missing = [row for digest, row in wanted.items() if digest not in kept and digest not in ours]
    differ = [row for digest, row in wanted.items() if _differs(row, ours.get(digest))]
    without = [
        row
        for digest, row in wanted.items()
        if digest in kept and digest not in ours and not row.facts.get("patient_id")
    ]
    for kind, rows, reason in (
        (
            "returned_without_image",
            missing,
            "left out: their label came back, but the store has no copy of the image. Set "
            "SKIN_RETURNED_LABELS=use for the installation, and run skin_labels while the images "
            "are still where they were scored",
        ),
        (
            "returned_label_differs",
            differ,
            "used with the label that `data` has; another one came back. Correct one of them",
        ),
        (
            "returned_without_patient",
            without,
            "used, but no file of labels says of which patient they are: two lesions of one "
            "patient may be on both sides of the split. Add a column patient_id",
        ),
    ):
        if rows:
            examples = ", ".join(row.name or row.image for row in rows[:3])
            yield Notice(kind=kind, subject=examples, reason=reason, count=len(rows))


def _differs(row: ReturnedLabel, own: str | None) -> bool:
    return own is not None and own != row.label


def joined(known: Known, returned: Returned) -> Known:
    """Returns the images of a data set together with those whose label came back.

    A patient or lesion whose id both have is one: so their images stay on one side of the split.
    """
    images = Images(
        (*known.images.files, *returned.files),
        known.images.tables,
        (*known.images.notices, *returned.notices),
    )
    return Known(images, with_facts(known.table, returned))


def with_facts(table: pd.DataFrame, returned: Returned) -> pd.DataFrame:
    """Returns the metadata of a data set, followed by those of the images whose label came back."""
    import pandas as pd

    same = {kind: _as_written(table[kind]) for kind in IDS}
    rows = [
        [_fact(kind, row.facts.get(kind, ""), same) for kind in METADATA] for row in returned.labels
    ]
    more = pd.DataFrame(rows, columns=list(METADATA), dtype=str)
    return pd.concat([table, more], ignore_index=True)


def _as_written(ids: pd.Series[Any]) -> dict[str, str]:
    return {plain_value(value): value for value in ids if value}


def _fact(kind: str, value: str, same: Mapping[str, Mapping[str, str]]) -> str:
    if kind not in IDS or not value:
        return value
    return same[kind].get(plain_value(value), without_fraction(value))
