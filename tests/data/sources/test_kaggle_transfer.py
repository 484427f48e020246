"""Downloads that continue where they were interrupted, without a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from skin_pipeline.data.sources.kaggle_transfer import Changed, Transfer
from skin_pipeline.errors import Unavailable

FILE = b"0123456789"


class Answer:
    """An answer of the storage with the file from a position on, of which only some bytes come."""

    def __init__(self, start: int, sent: int, tag: str = "one") -> None:
        self.status_code = 206 if start else 200
        self.headers = {"Content-Length": str(len(FILE)), "ETag": tag}
        if start:
            self.headers["Content-Range"] = f"bytes {start}-{len(FILE) - 1}/{len(FILE)}"
        self._body = FILE[start : start + sent]

    def iter_content(self, _: int) -> Iterator[bytes]:
        yield self._body

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def transfer(path: Path, *answers: dict[str, Any]) -> tuple[Transfer, list[int]]:
    """A transfer from a storage that gives these answers, and the positions that it is sent."""
    starts: list[int] = []
    waiting = iter(answers)

    def request(start: int) -> Any:
        starts.append(start)
        return Answer(start, **next(waiting))

    return Transfer(request, path), starts


def test_the_next_attempt_fetches_the_rest(tmp_path: Path) -> None:
    made, starts = transfer(tmp_path / "file", {"sent": 4}, {"sent": 6})
    with pytest.raises(Unavailable, match="4 of 10 bytes"):
        made.attempt()
    made.attempt()
    assert (tmp_path / "file").read_bytes() == FILE
    assert starts == [0, 4]


def test_a_file_that_changed_is_fetched_from_its_start(tmp_path: Path) -> None:
    answers = ({"sent": 4}, {"sent": 6, "tag": "two"}, {"sent": 10, "tag": "two"})
    made, starts = transfer(tmp_path / "file", *answers)
    for problem in (Unavailable, Changed):
        with pytest.raises(problem):
            made.attempt()
    made.attempt()
    assert (tmp_path / "file").read_bytes() == FILE
    assert starts == [0, 4, 0]
