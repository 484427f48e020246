"""Which data set came before.

A data set's identity is its content digest. `datasets/<name>/current.json` points to the one that
was accepted last for a model's name.
"""

from __future__ import annotations

import logging

from skin_pipeline.contracts import DataPointer, dump, parse
from skin_pipeline.storage import Store

log = logging.getLogger(__name__)


def before(store: Store, name: str, dataset: str) -> str | None:
    """The validation that was accepted before this data set, if any."""
    pointer = _pointer(store, name)[0]
    if pointer is None:
        return None
    return pointer.previous if pointer.dataset == dataset else pointer.validation


def accept(store: Store, name: str, dataset: str, validation: str, moved_at: str) -> None:
    """Point to an accepted data set; nothing happens if the pointer is there already."""
    pointer, tag = _pointer(store, name)
    if pointer is not None and pointer.dataset == dataset:
        return
    now = DataPointer(
        dataset=dataset,
        validation=validation,
        previous=pointer.validation if pointer else None,
        moved_at=moved_at,
    )
    if store.swap(_key(name), dump(now), tag):
        log.info("data_accepted name=%s dataset=%s", name, dataset)
    else:  # another run was faster: its data set is the one that the next is compared with
        log.warning("data_pointer_moved_by_another_run name=%s", name)


def _pointer(store: Store, name: str) -> tuple[DataPointer | None, str | None]:
    found = store.tagged(_key(name))
    if found is None:
        return None, None
    return parse(found[0], DataPointer, _key(name)), found[1]


def _key(name: str) -> str:
    return f"datasets/{name}/current.json"
