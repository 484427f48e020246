"""What all our pages know of the request that is being answered.

Airflow imports each file of the plugins folder by itself, also those that other plugins have
imported before, so that a module can be there twice. These variables are the same in all copies.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
    from fastapi import Request


def _shared(name: str, default: Any = ...) -> ContextVar[Any]:
    """Returns the variable of this name, which the first copy of this module has made."""
    home = sys.modules.setdefault("skin_request_variables", ModuleType("skin_request_variables"))
    made = ContextVar(name) if default is ... else ContextVar(name, default=default)
    found: ContextVar[Any] = vars(home).setdefault(name, made)
    return found


# From the page that is being made to the page "Models": "./", "../", "../../" …
HOME: ContextVar[str] = _shared("HOME", "./")
# The query of the address as it was sent, where a name comes twice.
QUERY: ContextVar[str] = _shared("QUERY", "")
USER: ContextVar[BaseUser] = _shared("USER")
REQUEST: ContextVar[Request] = _shared("REQUEST")
