"""What tests of stores share: where a store is, other processes, secrets that must stay secret."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from servers import proxy

from skin_pipeline.storage import S3Writing, Store, open_store
from skin_pipeline.storage.cache import CACHE_BYTES

ROOT = Path(__file__).parent.parent


PATIENCE = 300.0  # seconds until a test that waits for something gives up


MIB = 1 << 20


@dataclass
class Location:
    """Where a store is, and what `open_store` needs to open it, here or in another process."""

    url: str
    endpoint: str = ""
    credentials: dict[str, str] = field(default_factory=dict, repr=False)
    cache: str = ""
    cache_bytes: int = CACHE_BYTES

    def open(self, **writing: Any) -> Store:
        return open_store(
            self.url,
            endpoint=self.endpoint,
            credentials=self.credentials,
            cache=Path(self.cache) if self.cache else None,
            cache_bytes=self.cache_bytes,
            writing=S3Writing(**writing),
        )


def random_file(path: Path) -> Path:
    """Writes a file of three parts, if parts are as small as S3 allows."""
    path.write_bytes(os.urandom(10 * MIB + 7))
    return path


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def leftovers(cache: Path) -> list[Path]:
    """Returns all files of a cache except its locks, which stay."""
    return [path for path in files_below(cache) if path.parent.name != "locks"]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.01)


@contextmanager
def child(script: str, *arguments: str) -> Generator[subprocess.Popen[str], None, None]:
    """Runs `script` in a Python process, which is killed after the block if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def told(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str], what: object) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(what) + "\n")


def kill_writer(
    bucket: Location,
    script: str,
    source: Path,
    stop: Callable[[bytes], bytes],
    half: threading.Event,
    killed: threading.Event,
) -> None:
    """Runs a script that uploads `source`, and kills it half way.

    Args:
        bucket: Where it uploads to.
        script: Its arguments are the bucket, as JSON, and the path of `source`.
        source: The file.
        stop: Sees all that the script sends; sets `half`, then waits for `killed`.
        half: Set when the script is half done.
        killed: Set when the script is dead.
    """
    with proxy(bucket.endpoint) as front:
        front.asked = stop
        job = json.dumps({**vars(bucket), "endpoint": front.endpoint})
        with child(script, job, str(source)) as writer:
            assert half.wait(PATIENCE)
            writer.send_signal(signal.SIGKILL)
            assert writer.wait(PATIENCE) == -signal.SIGKILL
            killed.set()


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__


def assert_untold(secret: str, error: BaseException) -> None:
    """Asserts that `secret` is nowhere in an error, in what led to it, or in its traceback."""
    told = "".join(traceback.format_exception(error))
    told += "".join(f"{each} {each!r} {vars(each)}" for each in chain_of(error))
    assert secret not in told


def every_call(store: Store, source: Path) -> list[Callable[[], object]]:
    """Returns a call of each kind, all of which need an answer of the server."""
    return [
        partial(store.exists, "a"),
        partial(store.read, "a"),
        partial(store.local, "a"),
        partial(store.tagged, "a"),
        partial(store.list, ""),
        partial(store.put, "a", b""),
        partial(store.put_file, "a", source),
        partial(store.swap, "a", b"", None),
        partial(store.remove, "a"),
    ]


def calls_in_turn(store: Store, large: Path) -> dict[str, Callable[[], Any]]:
    """Returns a call of each kind, in an order in which all succeed if the server does."""

    def moved() -> bool:
        found = store.tagged("pointer")
        return store.swap("pointer", uuid.uuid4().bytes, found[1] if found else None)

    return {
        "put": partial(store.put, uuid.uuid4().hex, b"x"),
        "put_file": partial(store.put_file, uuid.uuid4().hex, large),
        "swap": moved,
        "read": partial(store.read, "there"),
        "tagged": partial(store.tagged, "there"),
        "exists": partial(store.exists, "there"),
        "list": partial(store.list, ""),
        "local": partial(store.local, "there"),
        "remove": partial(store.remove, "gone"),
    }
