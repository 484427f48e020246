"""Remembers which data set was accepted before.

`datasets/<name>/current.json` points to the data set that was accepted last for a model's name, and
to the validation of the one before it. So a run on the same data finds the same predecessor again.
"""

from __future__ import annotations

import logging

from skin_pipeline.contracts import DataPointer, dump, parse
from skin_pipeline.storage import Store

log = logging.getLogger(__name__)


def before(store: Store, name: str, dataset: str) -> str | None:
    """Returns the key of the validation that was accepted before this data set, if any.

    Args:
        store: The store.
        name: Of the model.
        dataset: Key of the data set. If it is the accepted one already, its predecessor counts.
    """
    pointer = _pointer(store, name)[0]
    if pointer is None:
        return None
    return pointer.previous if pointer.dataset == dataset else pointer.validation


def accept(store: Store, name: str, dataset: str, validation: str, moved_at: str) -> None:
    """Moves the pointer to an accepted data set, unless it points there already."""
    pointer, tag = _pointer(store, name)
    if pointer is not None and pointer.dataset == dataset:
        return
    now = DataPointer(
        dataset=dataset,
        validation=validation,
        previous=pointer.validation if pointer else None,
        moved_at=moved_at,
    )
    # The tag makes this fail if another run has moved the pointer since it was read.
    if store.swap(_key(name), dump(now), tag):
        log.info("data_accepted name=%s dataset=%s", name, dataset)
    else:  # no error: the next data set is then compared with that of the other run
        log.warning("data_pointer_moved_by_another_run name=%s", name)


def _pointer(store: Store, name: str) -> tuple[DataPointer | None, str | None]:
    """Returns the pointer and its tag; None for both if there is no pointer yet."""
    found = store.tagged(_key(name))
    if found is None:
        return None, None
    return parse(found[0], DataPointer, _key(name)), found[1]


def _key(name: str) -> str:
    return f"datasets/{name}/current.json"
