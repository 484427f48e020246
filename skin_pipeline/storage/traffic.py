"""How many bytes went to a store and came from it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass
class Traffic:
    """Counts bytes, from any number of threads.

    Attributes:
        read: The bytes that were read.
        written: The bytes that were written.
    """

    read: int = 0
    written: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, *, read: int = 0, written: int = 0) -> None:
        """Adds bytes to the counts."""
        with self._lock:
            self.read += read
            self.written += written
