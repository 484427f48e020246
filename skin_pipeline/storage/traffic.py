"""How many bytes went to a store and came from it."""

from __future__ import annotations

import threading
from dataclasses import dataclass

# One for all: a store that has counts can then be copied to another process.
_LOCK = threading.Lock()


@dataclass
class Traffic:
    """Counts bytes, from any number of threads.

    Attributes:
        read: The bytes that were read.
        written: The bytes that were written.
    """

    read: int = 0
    written: int = 0

    def add(self, *, read: int = 0, written: int = 0) -> None:
        """Adds bytes to the counts."""
        with _LOCK:
            self.read += read
            self.written += written
