"""The base of what is read from the environment, and what its values mean.

A value is stripped of blanks. An empty one (`null` of a form, an empty flag or variable) means
"none" where a field may be empty, and the default where it needs a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import NoneType
from typing import Any, get_args

from pydantic import SecretStr, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from skin_pipeline.foreign import holds_secret

ENV_PREFIX = "SKIN_"
EVERY = "*"  # stands for the steps that are not named


def _title(name: str, _field: object) -> str:
    return name.replace("_", " ").capitalize()


class Environment(BaseSettings):
    """Base of `Settings` and `Deployment`: reads `SKIN_<NAME>` where no value is given.

    So an installation can give its scheduled runs other defaults. Frozen: the keys of a run's
    results are made from its settings, so these must not change while it runs.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        frozen=True,
        field_title_generator=_title,
        hide_input_in_errors=True,  # it may contain a secret, also if another value is wrong
    )

    def __init__(self, **values: Any) -> None:
        # What was left empty is left out here, before pydantic looks into the environment, so that
        # a variable can fill it. The validator below does the same for the variables themselves.
        super().__init__(**_given(type(self), values))

    @model_validator(mode="before")
    @classmethod
    def _without_blanks(cls, values: dict[str, Any]) -> dict[str, Any]:
        return _given(cls, values)


def _given(kind: type[BaseSettings], values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns values as the fields take them: text without blanks around it, empty ones as what
    they mean.

    An empty value of a field that needs one is left out, so that the default is taken.
    """
    taken = {}
    for name, value in values.items():
        field = kind.model_fields.get(name)
        # Blanks are a part of a password.
        text = value.strip() if isinstance(value, str) and not _is_secret(field) else value
        if field is None or (text is not None and text != ""):
            taken[name] = text
        elif _nullable(field):
            taken[name] = None
        elif may_be_empty(field):
            taken[name] = ""
    return taken


def _is_secret(field: FieldInfo | None) -> bool:
    return field is not None and SecretStr in get_args(field.annotation)


def _nullable(field: FieldInfo) -> bool:
    return NoneType in get_args(field.annotation)


def may_be_empty(field: FieldInfo) -> bool:
    """Returns whether a field can have no value. One that cannot takes its default instead."""
    # Only text without any bound can be "", all the rest needs a value unless it may be None.
    return _nullable(field) or (field.annotation is str and not field.metadata)


def refuse_secrets(values: dict[str, Any], way_out: str) -> dict[str, Any]:
    """Returns the values if no login is among them.

    Settings are kept with the results and shown on pages, and so are names of stores in logs. The
    one field that is secret by its type is left out: it may hold one.

    Raises:
        ValueError: names the field. What was given is not repeated, and `way_out` is added.
    """
    for name, value in values.items():
        if isinstance(value, str) and holds_secret(value) and name != "signing_password":
            raise ValueError(
                f"{name} holds a user name with a password, a key, a token or a signature, which "
                f"must not be there. {way_out}"
            )
    return values


def parts(text: str) -> list[str]:
    """Returns the parts of a list of a setting, without the blanks around them.

    A part that contains a comma is written in quotes, as in CSV: `"Melanoma, NOS", nevus`. So is
    what follows an equals sign: `label="Diagnosis, final"`. A quote within quotes is doubled.

    Raises:
        ValueError: a quote is never closed.
    """
    # The odd pieces are within quotes; a doubled quote ends a piece and begins the next. Commas
    # outside of quotes become NUL, which no setting contains, and the list is divided there.
    pieces = text.split('"')
    if len(pieces) % 2 == 0:
        raise ValueError(f"a quote is never closed. Received: {text!r}")
    pieces[::2] = [re.sub(r"[,\n]", "\0", piece) for piece in pieces[::2]]
    found = (_unquoted(part.strip()) for part in '"'.join(pieces).split("\0"))
    return [part for part in found if part]


def _unquoted(part: str) -> str:
    # `kind="a, b"` and `"kind=a, b"` are both `kind=a, b`.
    return re.sub(r'"((?:[^"]|"")*)"', lambda found: found[1].replace('""', '"'), part).strip()


def pairs(text: str) -> dict[str, str]:
    """Returns what a setting such as `train=gpu, *=default` gives to each step.

    Raises:
        ValueError: A part is not of the form `STEP=NAME`, or a step is named twice.
    """
    found: dict[str, str] = {}
    for part in parts(text):
        step, sign, name = (piece.strip() for piece in part.partition("="))
        if not (step and sign and name):
            raise ValueError(f"each part must be STEP=NAME, which {part!r} is not")
        if step in found:
            raise ValueError(f"the step {step!r} is named twice")
        found[step] = name
    return found
