"""What a step writes and reads while it makes a result: from this, its proof is made."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from skin_pipeline.contracts import Proof
from skin_pipeline.storage import digest


class TakenError(Exception):
    """Another file already has the key that a step writes to."""


@dataclass
class Record:
    """What a step has written and read so far.

    Attributes:
        key: Of the result that is being made.
        folder: Where its files go in the store.
        files: The SHA-256 of each file that was written, by key.
        made_from: The digest of the proof of each result that was read, by key.
        copies: A folder of private copies of what was read, removed with the record.
    """

    key: str
    folder: str
    files: dict[str, str] = field(default_factory=dict)
    made_from: dict[str, str] = field(default_factory=dict)
    copies: tempfile.TemporaryDirectory[str] | None = None

    def proof(self, inputs: Mapping[str, Any], result: bytes) -> Proof:
        """Returns the proof of the result that was made.

        Args:
            inputs: What the result's address was made from.
            result: Its document.
        """
        return Proof(
            key=self.key,
            inputs=dict(inputs),
            result=digest(result),
            files=dict(sorted(self.files.items())),
            made_from=dict(sorted(self.made_from.items())),
        )


# Of the innermost result that is being made: a step may make another result within its own, such
# as features for a champion. Each thread and task has a value of its own.
_CURRENT: ContextVar[Record | None] = ContextVar("record", default=None)


def current() -> Record | None:
    """Returns the record of the result that is being made; None outside of `recording`."""
    return _CURRENT.get()


@contextmanager
def recording(key: str, folder: str) -> Generator[Record, None, None]:
    """Notes in a record what is written and read during the block."""
    record = Record(key, folder)
    token = _CURRENT.set(record)
    try:
        yield record
    finally:
        _CURRENT.reset(token)
        if record.copies:
            record.copies.cleanup()
