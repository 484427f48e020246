"""Compares values of cells: which mean the same, which mean nothing; and shows them in messages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

# Cells that mean nothing. Read as an id, such a value would put all its images into one group.
UNKNOWN = frozenset({
    *("", "-", "--", "?", ".", "unknown", "unk", "nan", "nat", "na", "n/a", "n.a.", "#n/a", "<na>"),
    *("none", "null", "nil", "missing", "not available", "not known", "not specified", "n/d"),
    *("not applicable", "not provided", "not recorded", "unspecified", "undefined", "#ref!"),
    *("#value!", "#name?", "#null!"),
})
# Tables from Kaggle and spreadsheets have these where an id is missing.
NO_ID = frozenset({
    "0",
    "-1",
    "-9",
    "-99",
    "-999",
    "-9999",
    "anonymous",
    "anonymized",
    "anonymised",
})
SHOWN = 10  # items in a message


def plain_value(value: str) -> str:
    """Returns the same text for values that mean the same: 45 and 45.0, Male and male."""
    value = " ".join(value.casefold().split())
    if not re.fullmatch(r"[+-]?\d{1,40}(\.\d{0,40})?(e[+-]?\d{1,2})?", value, re.ASCII):
        return value
    number = Decimal(value)
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if not number else text.lstrip("+")


def is_no_id(value: str) -> bool:
    """Returns whether a value in a column of ids means that there is no id."""
    word = plain_value(value)
    return word in UNKNOWN or word in NO_ID or not re.search(r"\w", word)


def without_fraction(value: str) -> str:
    """Returns an id without the `.0` that spreadsheets add to a number."""
    return re.sub(r"^(\d+)\.0*$", r"\1", value)


def short(value: str, most: int = 60) -> str:
    """Returns a value for a message: quoted, and not too long."""
    return repr(value if len(value) <= most else f"{value[:most]}…")


def listed(items: Sequence[str], most: int = SHOWN, between: str = "; ") -> str:
    """Joins items for a message: the first ones, and how many more there are."""
    more = f"{between}and {len(items) - most} more" if len(items) > most else ""
    return between.join(items[:most]) + more


def quoted(column: str) -> str:
    """Returns a column's name in the form that the setting `columns` accepts."""
    needs = any(sign in column for sign in ',"\n')
    return '"' + column.replace('"', '""') + '"' if needs else column
