"""A store as web pages read it: fast, although they ask for hundreds of documents.

    store = Reading(opened)             # for one request
    registry = Registry.of(store, …)    # all that reads a store works on it

A listing is made once in a request: those of folders below it are taken from it. Documents that
never change stay in the memory of the process for ten minutes, at most 64 MiB of them. Pointers,
incidents and all else that changes are read each time.
"""

from __future__ import annotations

import re
import threading
import time
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from skin_pipeline.errors import PipelineError
from skin_pipeline.provenance import STEPS
from skin_pipeline.storage import KeyList, Store

T = TypeVar("T")
WHOLE_BYTES, LARGEST_BYTES = 64 << 20, 4 << 20
SECONDS = 600.0  # somebody may remove a damaged result and make it anew
READERS = 8  # requests to the store at the same time
# Results of steps, manifests and files of versions, moves, judgements, batches, intents,
# approvals: written once.
UNCHANGING = re.compile(
    rf"(?:{'|'.join(STEPS)}|tables)/.+"
    r"|models/[^/]+/(?:versions|judged|moves)/.+"
    r"|scoring/[^/]+/batches/.+"
    r"|actions/[^/]+/intent\.json|approvals/.+"
)


class Memory:
    """What was read or computed lately, up to a size in bytes; what was not used for longest goes.

    Args:
        whole: Largest size of all.
        seconds: After which something is made again.
    """

    def __init__(self, whole: int = WHOLE_BYTES, seconds: float = SECONDS) -> None:
        self._whole, self._seconds, self._bytes = whole, seconds, 0
        self._kept: OrderedDict[Hashable, tuple[float, int, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def kept(self, name: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """Returns what is kept under a name, made by `make` if there is nothing."""
        with self._lock:
            found = self._kept.get(name)
            if found and time.monotonic() - found[0] < self._seconds:
                self._kept.move_to_end(name)
                value: T = found[2]
                return value
        made = make()
        self._keep(name, made, size(made))
        return made

    def _keep(self, name: Hashable, made: object, size: int) -> None:
        with self._lock:
            self._forget(name)
            if size > LARGEST_BYTES:
                return
            self._kept[name] = time.monotonic(), size, made
            self._bytes += size
            while self._bytes > self._whole:
                self._forget(next(iter(self._kept)))

    def _forget(self, name: Hashable) -> None:
        if before := self._kept.pop(name, None):
            self._bytes -= before[1]


MEMORY = Memory()  # of this process


class Reading:
    """A `Store` that reads another one, for one request, and writes nothing.

    Args:
        store: The other one.
        memory: Of documents that do not change.
    """

    def __init__(self, store: Store, memory: Memory = MEMORY) -> None:
        self.url = store.url
        self.endpoint = str(getattr(store, "endpoint", ""))
        self._store, self._memory = store, memory
        self._listed: dict[str, KeyList] = {}

    def fetch(self, keys: Iterable[str]) -> None:
        """Reads documents at the same time, so that each `read` of one finds it in the memory."""

        def read(key: str) -> None:
            with suppress(PipelineError):  # who needs it reads it again, and says what is wrong
                self.read(key)

        wanted = [key for key in keys if UNCHANGING.fullmatch(key)]
        if self.endpoint and len(wanted) > 1:  # a folder is not faster with threads
            with ThreadPoolExecutor(READERS) as pool:
                list(pool.map(read, wanted))

    def of_this_store(self, *name: str) -> tuple[str, ...]:
        """Returns a name for the memory that is another one in each store."""
        return (self.url, self.endpoint, *name)

    def exists(self, key: str) -> bool:
        """Implements `Store`."""
        known = self._known(key)
        if known is None:
            return self._store.exists(key)
        place = bisect_left(known, key)
        return known[place : place + 1] == [key]

    def read(self, key: str) -> bytes:
        """Implements `Store`."""
        if not UNCHANGING.fullmatch(key):
            return self._store.read(key)
        return self._memory.kept(self.of_this_store(key), lambda: self._store.read(key), len)

    def opened(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Implements `Store`."""
        return self._store.opened(key)

    def list(self, prefix: str) -> KeyList:
        """Implements `Store`."""
        prefix = prefix.rstrip("/")
        known = self._known(prefix) if prefix else self._listed.get("")
        if known is None:
            known = self._listed[prefix] = self._store.list(prefix)
        if not prefix:
            return known
        # All keys below a folder are between its name with a slash and with the next character.
        return known[bisect_left(known, f"{prefix}/") : bisect_left(known, f"{prefix}0")]

    def sizes(self, prefix: str) -> dict[str, int]:
        """Implements `Store`."""
        return self._store.sizes(prefix)

    def local(self, key: str, *, fresh: bool = False) -> Path:
        """Implements `Store`."""
        return self._store.local(key, fresh=fresh)

    def read_into(self, key: str, sink: BinaryIO) -> str:
        """Implements `Store`."""
        return self._store.read_into(key, sink)

    def tagged(self, key: str) -> tuple[bytes, str] | None:
        """Implements `Store`."""
        return self._store.tagged(key)

    def link(self, key: str) -> str:
        """Implements `Store`."""
        return self._store.link(key)

    def put(self, key: str, data: bytes) -> bool:
        """Refuses to write."""
        raise NotImplementedError(f"pages only read, and this would write {key}")

    def put_file(self, key: str, path: Path, sha256: str = "") -> bool:
        """Refuses to write."""
        raise NotImplementedError(f"pages only read, and this would write {key}")

    def copy(self, source: str, key: str, sha256: str) -> bool:
        """Refuses to write."""
        raise NotImplementedError(f"pages only read, and this would write {key}")

    def swap(self, key: str, data: bytes, tag: str | None) -> bool:
        """Refuses to write."""
        raise NotImplementedError(f"pages only read, and this would move {key}")

    def remove(self, key: str) -> None:
        """Refuses to remove anything."""
        raise NotImplementedError(f"pages only read, and this would remove {key}")

    def _known(self, key: str) -> KeyList | None:
        """Returns a listing that has this key, and all below it, if they are there."""
        for folder, keys in self._listed.items():
            if not folder or f"{key}/".startswith(f"{folder}/"):
                return keys
        return None
