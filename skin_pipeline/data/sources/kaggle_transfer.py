"""Downloads a file from Kaggle's storage, and continues where an earlier attempt stopped."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from skin_pipeline.errors import PipelineError, Unavailable
from skin_pipeline.progress import Progress

if TYPE_CHECKING:
    from requests import Response

log = logging.getLogger(__name__)

CHUNK = 2**16  # the most bytes that an interruption loses
CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


class Changed(Unavailable):
    """The storage has another file now, so the bytes that were received are useless."""


def unreachable(error: Exception) -> Unavailable:
    """Makes the error for a connection that failed."""
    # Only the name of the error: its text contains the signed address, or the proxy's password.
    return Unavailable(
        f"the connection to Kaggle failed ({type(error).__name__}). Check the network and, if "
        "used, HTTPS_PROXY and REQUESTS_CA_BUNDLE; or try later"
    )


class Transfer:
    """The transfer of one file. Each attempt fetches what the attempts before it did not.

    Args:
        request: Requests the bytes from a position on. Returns the storage's answer.
        path: The file to write. It is made at once, so it must not exist yet.
    """

    def __init__(self, request: Callable[[int], Response], path: Path) -> None:
        self._request = request
        self._path = path
        self._source: _Source | None = None  # the file whose beginning is in `path`
        path.touch(exist_ok=False)

    def attempt(self) -> None:
        """Fetches all that is missing.

        Raises:
            BadInput, Unavailable: Something is still missing. The next attempt continues where this
                one stopped if the storage has the same file, and starts again if not.
        """
        start = self._path.stat().st_size if self._source else 0
        try:
            response = self._request(start)
            with response:
                self._take(response, start)
        except Changed:
            self._source = None
            raise

    def _take(self, response: Response, start: int) -> None:
        source = _source(response, start)
        if response.status_code != 206:
            start = 0  # the storage ignored the position and sends the whole file
        elif source is None or source != self._source:
            raise Changed("the data set changed on Kaggle while it was downloaded")
        if start:
            log.info("kaggle_download_resumed bytes=%d", start)
        self._source = source
        with self._path.open("r+b") as sink:
            sink.truncate(start)
            sink.seek(start)
            _copy(response, sink)
            size = sink.tell()
        if source and size != source.bytes:
            raise Unavailable(f"{size} of {source.bytes} bytes came from Kaggle's storage")


class _Source(NamedTuple):
    """The state of a file in the storage, by which a change is noticed."""

    bytes: int
    tag: str
    changed: str


def state_in(response: Response) -> str:
    """Returns what an answer says of the state of a file; "" if it has no ETag."""
    source = _source(response, 0)
    return f"{source.bytes} {source.tag} {source.changed}" if source and source.tag else ""


def _source(response: Response, start: int) -> _Source | None:
    """Returns the state of the file that an answer contains, or contains a part of.

    It is None if the answer does not say, or does not begin at `start`: then its bytes must not be
    appended.
    """
    headers = response.headers
    length: str | None = headers.get("Content-Length")
    if response.status_code == 206:
        match = CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        length = match[2] if match and int(match[1]) == start else None
    encoding = headers.get("Content-Encoding", "identity")
    if length is None or not length.isdecimal() or encoding != "identity":
        return None
    return _Source(int(length), headers.get("ETag", ""), headers.get("Last-Modified", ""))


def _copy(response: Response, sink: BinaryIO) -> None:
    from requests import RequestException

    problem: PipelineError | None = None
    left = response.headers.get("Content-Length", "")
    total = sink.tell() + (int(left) if left.isdecimal() else 0)
    progress = Progress("bytes fetched", total, first=sink.tell())
    try:
        for chunk in response.iter_content(CHUNK):  # raises below the announced length
            sink.write(chunk)
            progress.reached(sink.tell())
    except RequestException as error:
        problem = unreachable(error)
    if problem:
        raise problem
