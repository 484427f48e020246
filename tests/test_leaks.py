"""The search for secrets finds them, so that what it does not find is not there."""

from __future__ import annotations

import html
import json
import sqlite3
from base64 import b64encode, urlsafe_b64encode
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest
from leaks import files, leaks, objects, rows

from skin_pipeline.storage import FolderStore, Store

SECRET = 'owner/9f"3a\\+5c 7e?>'
WRITTEN = {
    "plain": f"secret={SECRET}".encode(),
    "in a path": f"http://host/{quote(SECRET)}".encode(),
    "in a user's part": f"s3://key:{quote(SECRET, safe='')}@host".encode(),
    "in a query": urlencode({"secret": SECRET}).encode(),
    "in a form": quote_plus(SECRET).encode(),
    "in JSON": json.dumps({"password": SECRET}).encode(),
    "in a traceback": f"ValueError: {SECRET!r}".encode(),
    "in a page": html.escape(f"<p>{SECRET}").encode(),
    **{f"in base64 after {n}": b64encode(b"u" * n + SECRET.encode() + b":x") for n in range(4)},
    "in base64 for URLs": urlsafe_b64encode(f"user:{SECRET}".encode()),
    "between bytes": b"\xff\x00" + SECRET.encode() + b"\xfe",
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN.keys())
def test_a_secret_is_found_however_it_is_written(written: Any) -> None:
    assert leaks({"key": SECRET}, {"log": [b"nothing", written]}) == {"key in log"}


def test_another_secret_is_not_found() -> None:
    assert leaks({"key": "0ther-secret"}, {"log": WRITTEN.values()}) == set()


def test_a_secret_is_found_in_files_objects_and_rows(
    store: FolderStore, s3_store: Store, tmp_path: Path
) -> None:
    secrets = {name: f"{name}-7d1b" for name in ("content", "name", "object", "key", "row", "blob")}
    folder = tmp_path / "logs" / "deeper"
    folder.mkdir(parents=True)
    (folder / secrets["name"]).write_text(f"a line\n{secrets['content']}\n")
    s3_store.put("a/b", secrets["object"].encode())
    s3_store.put(f"{secrets['key']}/b", b"")
    with closing(sqlite3.connect(tmp_path / "database")) as database:
        database.execute('CREATE TABLE "order" (number, content)')
        values = [(1, secrets["row"]), (2, secrets["blob"].encode())]
        database.executemany('INSERT INTO "order" VALUES (?, ?)', values)
        database.commit()
    written = {
        "files": files(tmp_path / "logs"),
        "store": objects(s3_store),
        "database": rows(tmp_path / "database"),
    }
    assert leaks(secrets, written) == {
        *("content in files", "name in files", "object in store", "key in store"),
        *("row in database", "blob in database"),
    }
