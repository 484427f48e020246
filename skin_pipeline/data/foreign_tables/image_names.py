"""Finds the images that a name in a table means."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence

from skin_pipeline.data.kinds import OTHER_SUFFIXES, SUFFIXES


class ImageNames:
    """The images of a data set, found by a stem, a file name, or the end of a path.

    Args:
        keys: The path of each image below their common folder. An image is referred to by its
            position in them.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self.count = len(keys)
        self._paths = [without_suffix(key) for key in keys]
        self._by_stem: dict[str, list[int]] = {}
        for index, path in enumerate(self._paths):
            self._by_stem.setdefault(path.rpartition("/")[2], []).append(index)

    @property
    def stems(self) -> set[str]:
        """The names of all images, as `stem` returns them."""
        return set(self._by_stem)

    def stem(self, value: str) -> str:
        """Returns a name without folders and suffix, in lower case."""
        return without_suffix(value).rpartition("/")[2]

    def knows(self, value: str) -> bool:
        """Returns whether a name means an image."""
        return self.stem(value) in self._by_stem

    def images(self, value: str) -> tuple[int, ...]:
        """Returns the images that a name means: several if folders have files of the same name."""
        path = without_suffix(value)
        found = self._by_stem.get(path.rpartition("/")[2], [])
        if len(found) > 1 and "/" in path:
            ends = [i for i in found if f"/{self._paths[i]}".endswith(f"/{path}")]
            ends = ends or [i for i in found if f"/{path}".endswith(f"/{self._paths[i]}")]
            return tuple(ends or found)
        return tuple(found)


def without_suffix(name: str) -> str:
    """Returns a path in lower case without the suffix of an image."""
    # macOS stores an accent apart from its letter in names of files; tables do not.
    path = unicodedata.normalize("NFC", name.strip().replace("\\", "/")).casefold()
    stem, suffix = os.path.splitext(path)  # ruff: ignore[os-path-splitext]
    # A table may name the files as they were before somebody saved them as JPEG: `a.dcm`.
    return stem if suffix in SUFFIXES or suffix in OTHER_SUFFIXES else path
