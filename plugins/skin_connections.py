"""What the pipeline is given from Airflow's connections: access to the store, S3 images, Kaggle.

Used by the DAGs, the notifier and the page "Models". Everything is read when it is asked for,
never at import.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from skin_pipeline.data.kaggle import KaggleCredentials
    from skin_pipeline.storage import S3Access, Store


def open_configured_store() -> Store:
    """The store that this deployment names, with the credentials of its Airflow connection.

    Raises:
        BadInput: a setting does not fit, there is no such connection, or it holds no credentials.
        Unavailable: AWS did not give the credentials of the role that the connection names.
    """
    from skin_pipeline.config import deployment
    from skin_pipeline.storage import open_store

    place = deployment()
    in_s3 = place.store.startswith("s3://")
    access = _s3_access(place.store_connection if in_s3 else "", "SKIN_STORE_CONNECTION")
    return open_store(
        place.store,
        endpoint=access.endpoint or place.s3_endpoint,
        credentials=access.credentials,
        cache=Path(place.cache) if place.cache else None,
        cache_bytes=place.cache_bytes,
        writing=place.s3_writing,
    )


def data_access() -> S3Access:
    """How S3 buckets with images are reached: like the store, where nothing else is set.

    Raises `BadInput` and `Unavailable` like `open_configured_store`.
    """
    from dataclasses import replace

    from skin_pipeline.config import deployment

    place = deployment()
    if place.data_connection:
        access = _s3_access(place.data_connection, "SKIN_DATA_CONNECTION")
    else:
        access = _s3_access(place.store_connection, "SKIN_STORE_CONNECTION")
    endpoint = place.data_endpoint or access.endpoint or place.s3_endpoint
    return replace(access, endpoint=endpoint)


def kaggle_credentials() -> KaggleCredentials | None:
    """User name and key, or token, of the Kaggle connection; None without such a connection."""
    from skin_pipeline.config import deployment
    from skin_pipeline.data.kaggle import KaggleCredentials

    name = deployment().kaggle_connection
    connection = find_connection(name)
    if connection is None:
        return None
    extra = {str(key).lower(): str(value) for key, value in connection.extra_dejson.items()}
    return KaggleCredentials(
        username=connection.login or _first(extra, "username", "kaggle_username"),
        key=connection.password or _first(extra, "key", "kaggle_key"),
        token=_first(extra, "token", "api_token", "access_token", "kaggle_api_token"),
        origin=f"the Airflow connection {name!r}",
    )


def _first(extra: dict[str, str], *names: str) -> str:
    """The first of these entries that there is, or "": people paste what Kaggle gave them."""
    return next((extra[name] for name in names if name in extra), "")


def kaggle_endpoint() -> str:
    """The host of the Kaggle connection: an endpoint other than Kaggle's own; mostly empty."""
    from skin_pipeline.config import deployment

    connection = find_connection(deployment().kaggle_connection)
    host = ((connection.host if connection else "") or "").strip()
    if not connection or not host or "://" in host:
        return host
    # Fields of their own, as a connection of the type `http` has them.
    protocol = connection.schema if connection.schema in {"http", "https"} else ""
    port = f":{connection.port}" if connection.port and ":" not in host else ""
    return f"{protocol}://{host}{port}" if protocol else f"{host}{port}"


def find_connection(name: str) -> Connection | None:
    """The Airflow connection of that name, or None."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return BaseHook.get_connection(name)
    except AirflowNotFoundException:
        return None


def _s3_access(name: str, setting: str) -> S3Access:
    """What the connection `name`, which `setting` names, knows; without a name, nothing."""
    from skin_pipeline.errors import BadInput
    from skin_pipeline.storage import S3Access

    if not name:
        return S3Access()
    if find_connection(name) is None:  # the hook would quietly use other credentials
        raise BadInput(
            f"{setting} names the Airflow connection {name!r}, which does not exist: "
            "add it with type `aws`, or leave the setting empty"
        )
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

    hook = AwsBaseHook(aws_conn_id=name, client_type="s3")
    endpoint = hook.conn_config.get_service_endpoint_url("s3") or ""
    return S3Access(endpoint, _credentials(hook, name))


def _credentials(hook: Any, name: str) -> dict[str, str]:
    """What the hook finds, be it a key pair, a profile or an assumed role."""
    from botocore.exceptions import BotoCoreError, ClientError

    from skin_pipeline.errors import BadInput, Unavailable

    try:
        found = hook.get_session().get_credentials()
        frozen = found and found.get_frozen_credentials()
    except (BotoCoreError, ClientError) as error:
        message = f"the Airflow connection {name!r} gave no credentials: {error}"
        raise Unavailable(message) from error
    if not frozen:
        raise BadInput(
            f"the Airflow connection {name!r} holds no credentials: give it a key pair "
            "(login and password), a profile or a role"
        )
    return {
        "aws_access_key_id": frozen.access_key,
        "aws_secret_access_key": frozen.secret_key,
        "aws_session_token": frozen.token or "",
        "region_name": hook.region_name or "",
    }
