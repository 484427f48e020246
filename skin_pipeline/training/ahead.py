"""Makes batches one ahead of the work on them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def read_ahead(batches: Iterator[T]) -> Iterator[T]:
    """Yields batches, of which the next one is made by a thread while one is worked on."""
    nothing = object()
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, batches, nothing)
        while (batch := coming.result()) is not nothing:
            coming = reader.submit(next, batches, nothing)
            yield batch  # type: ignore[misc]
