"""What worker processes answer, read so that it can only be data.

They answer with pickles, and a pickle may name any function for the reader to call. A worker that
a stranger's image has taken over could so take over the process that asked. Here a pickle may name
what our workers answer with, and nothing else; whoever sends another is taken for one that died.
"""

from __future__ import annotations

import dataclasses
import pickle
import sys
from io import BytesIO
from multiprocessing import reduction
from multiprocessing.connection import Connection, reduce_connection  # type: ignore[attr-defined]
from multiprocessing.context import SpawnContext
from multiprocessing.queues import SimpleQueue
from typing import Any

MOST_BYTES = 512 * 2**20  # of one answer; a batch of whole images takes less
OURS = "skin_pipeline.data."
NUMPY = {"ndarray", "dtype", "_reconstruct", "scalar", "_frombuffer"}
NUMPY_MODULES = {
    f"numpy{part}"
    for part in ("", "._core.multiarray", "._core.numeric", ".core.multiarray", ".core.numeric")
}
POOL = {"_ResultItem", "_ExceptionWithTraceback", "_rebuild_exc", "_RemoteTraceback"}
PLAIN = {"set", "frozenset", "complex", "slice", "range", "bytearray"}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Returns what a pickle names, if it is one of the few."""
        known = (
            (module in NUMPY_MODULES and name in NUMPY)
            or (module == "concurrent.futures.process" and name in POOL)
            or (module == "builtins" and name in PLAIN)
        )
        if known or _is_ours(module, name) or _is_error(module, name):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"a worker process answered with {module}.{name}")


def _named(module: str, name: str) -> Any:
    """What a module that is in use already has by a plain name."""
    return vars(sys.modules[module]).get(name) if module in sys.modules else None


def _is_ours(module: str, name: str) -> bool:
    """Whether it is a record of the room that decodes: a data class or a named tuple."""
    found = _named(module, name)
    is_record = dataclasses.is_dataclass(found) or hasattr(found, "_fields")
    return module.startswith(OURS) and is_record and getattr(found, "__module__", "") == module


def _is_error(module: str, name: str) -> bool:
    found = _named(module, name)
    return isinstance(found, type) and issubclass(found, Exception) and found.__module__ == module


class _Careful(Connection):
    """The end of a pipe at which answers are read."""

    def recv(self) -> Any:
        return _Unpickler(BytesIO(self.recv_bytes(MOST_BYTES))).load()


reduction.register(_Careful, reduce_connection)  # to a new process it is a pipe as any other


class CarefulContext(SpawnContext):
    """Processes whose answers can only be data."""

    def SimpleQueue(self) -> SimpleQueue[Any]:  # ruff: ignore[invalid-function-name]
        """Returns the queue by which a pool hears of its processes."""
        queue = super().SimpleQueue()
        queue._reader.__class__ = _Careful  # type: ignore[attr-defined]
        return queue
