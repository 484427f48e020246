"""Brings names of columns, and cells that mean yes or no, into a form that can be compared."""

from __future__ import annotations

import re

# Cells of a column that is set for some rows and not for the others.
SET = frozenset({"1", "x", "true", "yes", "y"})
FLAGS = SET | {"", "0", "false", "no", "n"}


def plain(column: str) -> str:
    """Returns a column's name without case and separators."""
    return re.sub(r"[\W_]+", "", column.casefold())


def last_part(column: str) -> str:
    """Returns the plain name of a column's last part: `sex` of `meta.clinical.sex`, as in ISIC."""
    return plain(column.rpartition(".")[2])


def flag(value: str) -> str:
    """Returns a cell in lower case, with `1.0` as `1`."""
    value = value.casefold()
    return str(int(float(value))) if re.fullmatch(r"[01]\.0*(e[+-]?0+)?", value) else value


def is_set(value: str) -> bool | None:
    """Returns whether a cell means yes; None if it means neither yes nor no."""
    found = flag(value)
    return found in SET if found in FLAGS else None
