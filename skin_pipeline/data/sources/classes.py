"""Finds the class of each image: by the folder that it is in, or by a table.

    images = find(Path("lesions"))
    images.files[0].label, images.files[0].key  # "benign", "benign/a.jpg"

Folders named benign and malignant decide, at any depth. If there are none, folders with the names
in the settings decide. If there are none of these either, the tables beside the images decide.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from skin_pipeline.contracts import LABELS, Notice
from skin_pipeline.data import kinds
from skin_pipeline.data.sources import from_folder
from skin_pipeline.data.sources.contents import (
    LEFT_OUT,
    Contents,
    SourceFile,
    each_file_once,
    each_file_once_per_label,
    not_used,
)
from skin_pipeline.data.sources.found import Found, Images
from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import shown

log = logging.getLogger(__name__)

CLASSES: dict[str, str] = {label: label for label in LABELS}
FOLDERS_SHOWN = 12
TOP = "the folder itself"
LabelsOf = Callable[[Sequence[Path], Sequence[str]], list[str]]


def find(
    root: Path | Contents,
    labels_of: LabelsOf | None = None,
    meanings: Mapping[str, str] | None = None,
) -> Images:
    """Finds the images and their classes; the module says by what.

    Args:
        root: A folder, or the contents of a source.
        labels_of: Called with the tables and the keys of all images if there are no class folders.
            Returns the class of each image, "" for those that are left out.
        meanings: Further names of class folders, in lower case, and the class of each. They count
            only if no folder is named benign or malignant.

    Raises:
        BadInput: There are no images, or only of one class, or the class of some is ambiguous.
        Unavailable: A file was removed meanwhile.
    """
    contents = from_folder.contents_of(root) if isinstance(root, Path) else root
    tables, repeated = each_file_once(contents.tables)
    paths = tuple(item.path for item in tables)
    classed = _by_folders(contents, CLASSES)
    if not classed.files and meanings:
        named = _by_folders(contents, meanings)
        # One class alone is no sign of class folders: `other/` may be anything.
        classed = named if len(_classes(named.files)) == len(LABELS) else classed
    files = classed.files or _by_tables(contents, paths, labels_of)
    _refuse_missing(contents, files)
    return Images(tuple(files), paths, (*contents.notices, *repeated, *classed.notices))


def _refuse_missing(contents: Contents, files: Sequence[Found]) -> None:
    missing = [label for label in LABELS if label not in _classes(files)]
    if missing:
        raise BadInput(
            f"{contents.title}: no images of class {' and '.join(missing)}. Expected image files "
            f"({kinds.shown_suffixes()}) in folders named benign/ and malignant/ somewhere below, "
            "or a table beside the images that has their labels. "
            f"{_advice(contents)}{not_used(contents.notices)}"
        )


def _classes(files: Sequence[Found]) -> set[str]:
    return {item.label for item in files}


def _advice(contents: Contents) -> str:
    """Returns which folders contain images, and what to do if the folders are classes."""
    folders = Counter(map(_folder_shown, contents.images))
    if not folders:
        return "" if contents.notices else "Received: an empty folder"
    seen = [f"{name} ({count})" for name, count in folders.most_common(FOLDERS_SHOWN)]
    more = f" and {len(folders) - len(seen)} more" if len(folders) > len(seen) else ""
    if list(folders) == [TOP]:
        return f"Received images in: {seen[0]}. "
    return (
        f"Received images in: {', '.join(seen)}{more}. If folders are named after classes, name "
        "them in `malignant_values` and `benign_values`, for instance malignant_values=melanoma "
        "and benign_values=nevus. "
    )


def _folder_shown(item: SourceFile) -> str:
    """Returns the name of an image's folder for messages."""
    return f"{item.folders[-1]}/" if item.folders else TOP


# --- classes from folders ------------------------------------------------------------------------


class _ByFolders(NamedTuple):
    """The images in class folders, and notices of those beside them."""

    files: list[Found]
    notices: tuple[Notice, ...]


def _by_folders(contents: Contents, meanings: Mapping[str, str]) -> _ByFolders:
    shared = _shared_parts([item.folders for item in contents.images])
    labelled: list[tuple[SourceFile, str]] = []
    outside: list[SourceFile] = []
    above: list[tuple[str, ...]] = []  # of each labelled image, the folders above its class folder
    for item in contents.images:
        depth = _class_depth(item.folders, shared, meanings)
        if depth is None:
            outside.append(item)
        else:
            labelled.append((item, meanings[_plain(item.folders[depth])]))
            above.append(item.folders[:depth])
    if not labelled:
        return _ByFolders([], ())
    once, repeated = each_file_once_per_label(labelled)
    # Keys begin below the common parent of the class folders, so that a zip and the folder that is
    # extracted from it have equal keys.
    start = _shared_parts(above)
    used = {item.real for item, _ in once if item.real}  # some by a link in a class folder
    outside = [item for item in outside if item.real not in used]
    found = [Found(label, item.below(start), item.path) for item, label in once]
    files = sorted(found, key=lambda item: item.key)
    return _ByFolders(files, (*repeated, *_left_out(outside, set(above))))


def _class_depth(folders: tuple[str, ...], shared: int, meanings: Mapping[str, str]) -> int | None:
    """Returns the position of an image's class folder among the folders above it; None for none.

    A folder that contains all images does not count if there is a class folder below it: a data set
    may be named Malignant.

    Args:
        folders: The folders above the image, the topmost first.
        shared: How many of them all images have in common.
        meanings: The class of each name of a folder.

    Raises:
        BadInput: The image is in folders of both classes.
    """
    depths = [i for i, name in enumerate(folders) if meanings.get(_plain(name))]
    depths = [i for i in depths if i >= shared] or depths
    labels = {meanings[_plain(folders[i])] for i in depths}
    if len(labels) > 1:
        raise BadInput(
            f"images are in folders of both classes at once, such as {shown('/'.join(folders))}: "
            "it is not clear which is meant. Rename one of the folders"
        )
    return depths[0] if depths else None


def _plain(folder: str) -> str:
    return folder.strip().casefold()


def _left_out(outside: Sequence[SourceFile], above: set[tuple[str, ...]]) -> tuple[Notice, ...]:
    """Makes a notice for each folder beside the class folders that contains images."""
    counts = Counter(_beside(item.folders, above) for item in outside)
    names = sorted(counts, key=lambda name: (-counts[name], name))
    notices = [_beside_notice(name, counts[name]) for name in names[:FOLDERS_SHOWN]]
    if rest := names[FOLDERS_SHOWN:]:
        total = sum(counts[name] for name in rest)
        notices.append(_beside_notice(f"{len(rest)} further folders", total))
    return tuple(notices)


def _beside(folders: tuple[str, ...], above: set[tuple[str, ...]]) -> str:
    """Returns the name of the folder beside the class folders that contains an image.

    If there is no class folder beside it, it is the topmost folder.
    """
    depth = next((n for n in range(len(folders), -1, -1) if folders[:n] in above), 0)
    return f"{folders[depth]}/" if depth < len(folders) else "beside the class folders themselves"


def _beside_notice(name: str, count: int) -> Notice:
    reason = (
        "images outside of benign/ and malignant/ have neither class and are left out; move them "
        "into a class folder if they have one"
    )
    return Notice(kind=LEFT_OUT, subject=name, reason=reason, count=count)


# --- classes from tables -------------------------------------------------------------------------


def _by_tables(
    contents: Contents, tables: tuple[Path, ...], labels_of: LabelsOf | None
) -> list[Found]:
    images, _ = each_file_once(contents.images)
    if not (tables and images and labels_of):
        return []
    shared = _shared_parts([item.folders for item in images])
    keys = [item.below(shared) for item in images]
    try:
        labels = labels_of(tables, keys)
    except BadInput as error:
        # If there are several folders, their names may be classes, and the settings can say so.
        advice = _advice(contents) if len(set(map(_folder_shown, images))) > 1 else ""
        raise BadInput(f"{error}. {advice}") from None
    found = [
        Found(label, key, item.path)
        for label, key, item in zip(labels, keys, images, strict=True)
        if label
    ]
    log.info("labels_from_tables images=%d without_label=%d", len(found), len(keys) - len(found))
    return sorted(found, key=lambda item: item.key)


def _shared_parts(folders: Sequence[tuple[str, ...]]) -> int:
    """Counts the leading parts that all of these paths have in common."""
    together = itertools.takewhile(lambda part: len(set(part)) == 1, zip(*folders, strict=False))
    return sum(1 for _ in together)
