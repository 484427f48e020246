"""Who asks for a page, what they may do in Airflow, and forms that only our own pages can send.

Our pages have no rights of their own: reading needs Airflow's right to see plugins, and acting its
right to trigger the DAG that carries the action out.

    ROUTES = (Route("/act/rollback", roll_back, ("POST",), sent_to_trigger("skin_rollback")),)
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from skin_request import REQUEST, USER

from skin_pipeline.foreign import guard

log = logging.getLogger(__name__)
guard(__name__)

FORM_SECONDS = 8 * 3600  # a form that was opened in the morning works until the evening
SALT = "skin-models-form"
STALE = (
    "The form is out of date, or was not sent from this page. Nothing was done. Go back, load the "
    "page anew and send it again."
)


def known() -> Any:
    """Returns the dependency of every page: it finds out who asks. Airflow refuses strangers."""
    from typing import Annotated

    from airflow.api_fastapi.core_api.security import get_user
    from fastapi import Depends, Request

    # FastAPI calls a coroutine in the context of the request, and a plain function in another one.
    async def set_user(request: Any, user: Any) -> None:  # ruff: ignore[unused-async]
        USER.set(user)
        REQUEST.set(request)

    types = {"request": Request, "user": Annotated[Any, Depends(get_user)]}
    set_user.__annotations__.update(types)
    return Depends(set_user)


def user_name() -> str:
    """Returns the name of the user who asks, as Airflow's own tables have it."""
    return str(USER.get().get_name())


def may_trigger(dag_id: str) -> bool:
    """Returns whether the user who asks may trigger a DAG; pages show their buttons by it."""
    return _may("POST", "RUN", dag_id)


def may_read_runs(dag_id: str) -> bool:
    """Returns whether the user who asks may see the runs of a DAG."""
    return _may("GET", "RUN", dag_id)


def may_audit(dag_id: str) -> bool:
    """Returns whether the user who asks may read Airflow's event log of a DAG."""
    return _may("GET", "AUDIT_LOG", dag_id)


def _may(method: Any, entity: str, dag_id: str) -> bool:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import (
        DagAccessEntity,
        DagDetails,
    )
    from airflow.models.dag import DagModel

    return get_auth_manager().is_authorized_dag(
        method=method,
        access_entity=DagAccessEntity[entity],
        details=DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id)),
        user=USER.get(),
    )


def to_trigger(dag_id: str) -> Callable[[], list[Any]]:
    """Returns the dependencies of a page that only those may see who may trigger a DAG."""

    def dependencies() -> list[Any]:
        from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
        from airflow.api_fastapi.core_api.security import requires_access_dag
        from fastapi import Depends

        return [Depends(requires_access_dag("POST", DagAccessEntity.RUN, dag_id))]

    return dependencies


def to_read_runs() -> list[Any]:
    """Returns the dependencies of a page about a run of the DAG that its path names."""
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
    from airflow.api_fastapi.core_api.security import requires_access_dag
    from fastapi import Depends

    return [Depends(requires_access_dag("GET", DagAccessEntity.RUN))]


# --- forms ---------------------------------------------------------------------------------------

# The login is a cookie, which a browser also sends with a form that a stranger's page posts here.
# Airflow sets it SameSite=Lax, which most browsers heed; a page on another port or name of the same
# site would still pass. So there are two more locks, and each is enough:
#
# * every form contains a token, signed with Airflow's own key, for this user and this action, which
#   no other page can read;
# * a browser says in Sec-Fetch-Site where a request comes from. If it does, it must be this origin.


def form_token(action: str) -> str:
    """Returns the token of a form, for the user who asks.

    Args:
        action: What the form does, such as `rollback`.
    """
    return str(_signer().dumps([str(USER.get().get_id()), action]))


def check_form(action: str, token: str) -> None:
    """Checks that a form was sent from our own page, opened by the same user.

    Raises:
        HTTPException: 403, if it was not.
    """
    from fastapi import HTTPException
    from itsdangerous import BadData

    origin = REQUEST.get().headers.get("sec-fetch-site", "same-origin")
    try:
        said = _signer().loads(token, max_age=FORM_SECONDS)
    except BadData:
        said = None
    if origin != "same-origin" or said != [str(USER.get().get_id()), action]:
        log.warning("form_refused action=%s origin=%s", action, origin)
        raise HTTPException(403, STALE)


def _signer() -> Any:
    from airflow.configuration import conf
    from itsdangerous import URLSafeTimedSerializer

    return URLSafeTimedSerializer(conf.get_mandatory_value("api", "secret_key"), salt=SALT)
