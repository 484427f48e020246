"""Changing an object that several processes may change at the same time."""

from __future__ import annotations

from collections.abc import Callable

from skin_pipeline.storage.keys import Store


def update(store: Store, key: str, change: Callable[[bytes | None], bytes | None]) -> None:
    """Replaces an object by what `change` makes of it; again, if another process was faster.

    Args:
        store: The store.
        key: The key of the object.
        change: Is given the bytes that are there, or None, and returns the new ones; None to leave
            the object as it is.

    Raises:
        BadInput, Unavailable: As the store does.
    """
    written = False
    while not written:
        found = store.tagged(key)
        data = change(found[0] if found else None)
        if data is None:
            return
        written = store.swap(key, data, found[1] if found else None)
