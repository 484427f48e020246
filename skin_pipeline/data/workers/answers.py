"""Reads what worker processes answer, so that it can only be data.

They answer with pickles, and a pickle may name any function for the reader to call. So a worker
that was taken over by a hostile image could take over the process that started it. Here a pickle
may name what our workers answer with, and nothing else; a worker that sends another name is treated
like one that died.
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
# What pickles of arrays and numbers name, in the modules of NumPy 1 and 2.
NUMPY = {"ndarray", "dtype", "_reconstruct", "scalar", "_frombuffer"}
NUMPY_MODULES = {
    f"numpy{part}"
    for part in ("", "._core.multiarray", "._core.numeric", ".core.multiarray", ".core.numeric")
}
# What the executor itself sends: results, and errors with their traceback.
POOL = {"_ResultItem", "_ExceptionWithTraceback", "_rebuild_exc", "_RemoteTraceback"}
PLAIN = {"set", "frozenset", "complex", "slice", "range", "bytearray"}


class _Unpickler(pickle.Unpickler):
    """Reads a pickle that may name a few known things only."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns what a pickle names.

        Raises:
            UnpicklingError: It is none of the few.
        """
        known = (
            (module in NUMPY_MODULES and name in NUMPY)
            or (module == "concurrent.futures.process" and name in POOL)
            or (module == "builtins" and name in PLAIN)
        )
        if known or _is_ours(module, name) or _is_error(module, name):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"a worker process answered with {module}.{name}")


def _named(module: str, name: str) -> Any:
    """Returns what a module has under a plain name; None unless the module is imported already.

    Nothing is imported for a pickle, as an import runs code. A name with dots, which could lead
    from one of our modules to `os.system`, is no key of a module and so finds nothing.
    """
    return vars(sys.modules[module]).get(name) if module in sys.modules else None


def _is_ours(module: str, name: str) -> bool:
    """Returns whether a name is that of a data class or a named tuple of the data room.

    Making one runs only the code of our own class. It must be defined in that module, so that
    nothing counts as ours because a module of ours imports it.
    """
    found = _named(module, name)
    is_record = dataclasses.is_dataclass(found) or hasattr(found, "_fields")
    return module.startswith(OURS) and is_record and getattr(found, "__module__", "") == module


def _is_error(module: str, name: str) -> bool:
    """Returns whether a name is that of an exception class, of any module."""
    found = _named(module, name)
    return isinstance(found, type) and issubclass(found, Exception) and found.__module__ == module


class _Careful(Connection):
    """The end of a pipe at which answers are read."""

    def recv(self) -> Any:
        """Returns the next answer."""
        return _Unpickler(BytesIO(self.recv_bytes(MOST_BYTES))).load()


# A new process is given the pipe too, and multiprocessing hands on only classes that it knows.
reduction.register(_Careful, reduce_connection)


class CarefulContext(SpawnContext):
    """Processes whose answers can only be data."""

    def SimpleQueue(self) -> SimpleQueue[Any]:  # ruff: ignore[invalid-function-name]
        """Returns the queue through which the processes of a pool answer."""
        queue = super().SimpleQueue()
        # The queue makes its pipe itself, so the class of the pipe's end is changed afterwards.
        queue._reader.__class__ = _Careful  # type: ignore[attr-defined]
        return queue
