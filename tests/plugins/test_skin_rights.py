"""Forms that only our own pages can send, and rights that are Airflow's own."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import skin_rights
from skin_request import REQUEST, USER


@pytest.fixture
def request_of() -> Iterator[Any]:
    """Makes somebody the one who asks, with headers of a browser."""
    tokens: list[Any] = []

    def ask(user: str, **headers: str) -> None:
        person: Any = SimpleNamespace(get_id=lambda: user, get_name=lambda: user)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        tokens.append((USER, USER.set(person)))
        request: Any = SimpleNamespace(headers=sent)
        tokens.append((REQUEST, REQUEST.set(request)))

    yield ask
    for variable, token in reversed(tokens):
        variable.reset(token)


def refused(action: str, token: str) -> bool:
    from fastapi import HTTPException

    try:
        skin_rights.check_form(action, token)
    except HTTPException as error:
        return bool(error.status_code == 403)
    return False


def test_a_form_is_for_one_user_and_one_action(request_of: Any) -> None:
    request_of("eve")
    token = skin_rights.form_token("skin_alias")
    assert not refused("skin_alias", token)
    assert refused("skin_rollback", token)
    request_of("victor")
    assert refused("skin_alias", token)
    assert skin_rights.user_name() == "victor"


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_a_form_of_another_site_is_refused_although_its_token_is_right(
    request_of: Any, site: str
) -> None:
    request_of("eve", sec_fetch_site=site)
    assert refused("skin_alias", skin_rights.form_token("skin_alias"))
    request_of("eve", sec_fetch_site="same-origin")
    assert not refused("skin_alias", skin_rights.form_token("skin_alias"))


def test_a_form_that_was_opened_long_ago_is_refused(
    request_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_of("eve")
    token = skin_rights.form_token("skin_alias")
    monkeypatch.setattr(skin_rights, "FORM_SECONDS", -1)
    assert refused("skin_alias", token)


@pytest.mark.parametrize("token", ["", "x", "WyJldmUiLCJza2luX2FsaWFzIl0.awfmPQ.AAAA", "é"])
def test_what_is_no_token_is_refused(request_of: Any, token: str) -> None:
    request_of("eve")
    assert refused("skin_alias", token)
