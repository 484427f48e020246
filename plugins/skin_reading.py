"""What pages read: the store, and what an address asks for.

No key of the store is made from an address before each name in it was checked here.
"""

from __future__ import annotations

import functools
import logging
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, TypeVar
from urllib.parse import parse_qs

from skin_request import QUERY

from skin_pipeline.foreign import guard

if TYPE_CHECKING:
    from skin_pipeline.operations import reading
    from skin_pipeline.release import Model
    from skin_pipeline.storage import Store

T = TypeVar("T")
log = logging.getLogger(__name__)
guard(__name__)

# What a name in the address of a page may be, so that no key made from it leads elsewhere.
MODEL = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")
VERSION = re.compile(r"[0-9a-f]{1,64}")
OPEN_SECONDS = 60  # for which pages use the same connection to S3, and its credentials


def page_store() -> reading.Reading:
    """Returns the configured store, as a page reads it.

    Raises:
        PipelineError: It cannot be opened.
    """
    from skin_connections import open_configured_store

    from skin_pipeline.config import read_deployment
    from skin_pipeline.operations import reading

    deployment = read_deployment()
    if not deployment.store.startswith("s3://"):
        return reading.Reading(open_configured_store())
    return reading.Reading(_opened(deployment.model_dump_json(), time.monotonic() // OPEN_SECONDS))


@functools.lru_cache(maxsize=2)
def _opened(_settings: str, _minute: float) -> Store:
    """Returns the store in S3; opening one takes as long as reading a page."""
    from skin_connections import open_configured_store

    return open_configured_store()


def page_model(store: reading.Reading, name: str) -> Model:
    """Returns the model that an address names; ends the request if the store has nothing of it."""
    from skin_pipeline.config import read_deployment
    from skin_pipeline.release import Registry

    if not MODEL.fullmatch(name) or not store.list(f"models/{name}"):
        not_there(f"There is no model {name}.")
    return Registry.of(store, read_deployment()).model(name)


def attempt(read: Callable[[], T], instead: T) -> tuple[T, str]:
    """Returns what `read` returns, and ""; or `instead`, and what is damaged.

    So a damaged document affects only the part of the page that it belongs to.
    """
    from skin_pipeline.errors import BadInput

    try:
        return read(), ""
    except BadInput as error:
        log.warning("part_unreadable error=%s", error)
        return instead, str(error)


def not_there(what: str) -> NoReturn:
    """Ends the request: there is no such thing.

    Raises:
        HTTPException: Always.
    """
    from fastapi import HTTPException

    raise HTTPException(404, what)


def checked_version(name: str) -> str:
    """Returns the name of a version in an address; ends the request if none has such a name."""
    return name if VERSION.fullmatch(name) else not_there(f"There is no version {name}.")


def chosen(name: str, most: int = 20) -> list[str]:
    """Returns the values that the address gives to a name, each once and in order; at most some."""
    try:
        found = parse_qs(QUERY.get(), max_num_fields=100).get(name, [])
    except ValueError:  # too many, or no text
        found = []
    return list(dict.fromkeys(found))[:most]


def page_number(text: str) -> int:
    """Returns the number of a page of a list, from an address; 1 for anything else."""
    return int(text) if re.fullmatch(r"[1-9][0-9]{0,5}", text) else 1
