"""Settings and deployment as they come from outside, with errors that people can act upon."""

from __future__ import annotations

import difflib
import functools
import logging
import os
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import ValidationError

from skin_pipeline.config.deployment import Deployment
from skin_pipeline.config.environment import ENV_PREFIX, Environment
from skin_pipeline.config.settings import Settings
from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import hide, hide_environment, shown

log = logging.getLogger(__name__)

# Variables that begin like settings and are none: for tests, and for a server in Kaggle's place.
OTHER_VARIABLES = ("SKIN_TEST_", "SKIN_KAGGLE_ENDPOINT")
S = TypeVar("S", bound=Environment)


def read_settings(values: dict[str, Any]) -> Settings:
    """Returns the settings that a trigger form or a command line gives.

    Raises:
        BadInput: names every value that does not fit, what was received and what is allowed.
    """
    return _read(Settings, values)


def read_deployment() -> Deployment:
    """Returns the deployment that the environment describes.

    From then on, secrets of the environment are masked wherever this process writes text. Variables
    that begin like a setting and are none are warned of, once a process.

    Raises:
        BadInput: as `read_settings`.
    """
    _warn_of(frozenset(name.upper() for name in os.environ))
    hide_environment()
    deployment = _read(Deployment, {})
    if deployment.signing_password:
        hide(deployment.signing_password.get_secret_value())
    return deployment


@functools.cache
def _warn_of(variables: frozenset[str]) -> None:
    fields = (*Settings.model_fields, *Deployment.model_fields)
    known = {f"{ENV_PREFIX}{name.upper()}" for name in fields}
    begun = {name for name in variables if name.startswith(ENV_PREFIX)}
    for name in sorted(begun - known):
        if not name.startswith(OTHER_VARIABLES):
            log.warning('unknown_variable name=%s problem="%s"', name, no_setting(name, known))


def no_setting(name: str, known: Iterable[str]) -> str:
    """Returns a sentence that says that a name is no setting, and which one is nearest to it."""
    like = {item.lower().replace("-", "_"): item for item in known}
    near = difflib.get_close_matches(name.lower().replace("-", "_"), like, n=1, cutoff=0.65)
    return f"{name} is no setting" + (f"; the nearest is {like[near[0]]}" if near else "")


def _read(kind: type[S], values: dict[str, Any]) -> S:
    try:
        return kind(**values)
    except ValidationError as error:
        # Not `from error`: pydantic's own text repeats values, of which one may be a secret.
        raise BadInput(_explain(error)) from None


def _explain(error: ValidationError) -> str:
    lines = []
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"{no_setting(name, Settings.model_fields)}. Received: {_given_as(item)}")
        elif name:
            lines.append(f"{name}: {item['msg']}. Received: {_given_as(item)}")
        else:
            lines.append(item["msg"].removeprefix("Value error, "))
    return "settings do not fit: " + "; ".join(lines)


def _given_as(item: Any) -> str:
    value = item["input"]
    return shown(value) if isinstance(value, str) else repr(value)
