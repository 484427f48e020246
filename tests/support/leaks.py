"""Searches what was written for secrets, in each form that a secret may have been written in.

assert leaks({"key": "s3cret"}, {"logs": files(folder / "logs")}) == set()
"""

from __future__ import annotations

import html
import json
import sqlite3
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, quote_plus

from skin_pipeline.storage import Store


def forms(secret: str) -> set[bytes]:
    """A secret plainly, quoted for a URL, escaped for JSON, Python or HTML, and in base64."""
    texts = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), html.escape(secret)}
    texts |= {json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    return {text.encode() for text in texts} | _in_base64(secret.encode())


def _in_base64(secret: bytes) -> set[bytes]:
    """What is the same in base64 of any text with the secret in it, be it `user:secret`."""
    found = set()
    for before in range(3):  # bytes that share the first group of three with it
        first, last = -(-before * 8 // 6), (before + len(secret)) * 8 // 6
        for encode in (b64encode, urlsafe_b64encode):
            found.add(encode(bytes(before) + secret)[first:last])
    return found


def leaks(secrets: Mapping[str, str], written: Mapping[str, Iterable[bytes]]) -> set[str]:
    """Which secret stands where, as `NAME in PLACE`.

    Args:
        secrets: By name, which is told instead of the secret.
        written: What was written, by place.
    """
    sought = {name: forms(secret) for name, secret in secrets.items()}
    return {
        f"{name} in {place}"
        for place, texts in written.items()
        for text in texts
        for name, known in sought.items()
        if any(form in text for form in known)
    }


def files(folder: Path) -> Iterator[bytes]:
    """All files below a folder: their names and their bytes."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield bytes(path) + b"\n" + path.read_bytes()


def objects(store: Store) -> Iterator[bytes]:
    """All objects of a store: their keys and their bytes."""
    for key in store.list(""):
        yield key.encode() + b"\n" + store.read(key)


def rows(database: Path) -> Iterator[bytes]:
    """All rows of all tables of an SQLite database, each value on a line of its own."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                yield b"\n".join(v if isinstance(v, bytes) else str(v).encode() for v in row)
