"""Access to the store, to images in S3 and to Kaggle, from Airflow's connections.

The DAGs, the notifier and the page "Models" use it. Connections are read when a function here is
called, never at import: every component of Airflow imports this file.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from skin_pipeline.credentials import KaggleCredentials
    from skin_pipeline.storage import S3Access, Store


def open_configured_store() -> Store:
    """Returns the store that the deployment names, with the credentials of its connection.

    Raises:
        BadInput: A setting is not valid, there is no such connection, or it has no credentials.
        Unavailable: AWS did not give the credentials of the role that the connection names.
    """
    from dataclasses import replace

    from skin_pipeline.config import read_deployment
    from skin_pipeline.storage import open_store

    deployment = read_deployment()
    in_s3 = deployment.store.startswith("s3://")
    access = _s3_access(deployment.store_connection if in_s3 else "", "SKIN_STORE_CONNECTION")
    return open_store(
        deployment.store,
        access=replace(access, endpoint=access.endpoint or deployment.s3_endpoint),
        cache=Path(deployment.cache) if deployment.cache else None,
        cache_bytes=deployment.cache_bytes,
        writing=deployment.s3_writing,
    )


def data_access() -> S3Access:
    """Returns how S3 buckets with images are reached: like the store, unless something else is set.

    Raises `BadInput` and `Unavailable` like `open_configured_store`.
    """
    from dataclasses import replace

    from skin_pipeline.config import read_deployment

    deployment = read_deployment()
    unsigned = deployment.data_anonymous
    if deployment.data_connection:
        access = _s3_access(deployment.data_connection, "SKIN_DATA_CONNECTION", anonymous=unsigned)
    else:
        access = _s3_access(
            deployment.store_connection, "SKIN_STORE_CONNECTION", anonymous=unsigned
        )
    endpoint = deployment.data_endpoint or access.endpoint or deployment.s3_endpoint
    return replace(access, endpoint=endpoint)


def kaggle_credentials() -> KaggleCredentials | None:
    """Returns the user name and key, or the token, of the Kaggle connection; None if there is no
    such connection."""
    from airflow.sdk.log import mask_secret

    from skin_pipeline.config import read_deployment
    from skin_pipeline.credentials import KaggleCredentials

    name = read_deployment().kaggle_connection
    connection = find_connection(name)
    if connection is None:
        return None
    extra = {str(key).lower(): str(value) for key, value in connection.extra_dejson.items()}
    for kind in ("key", "kaggle_key", "token", "api_token", "access_token", "kaggle_api_token"):
        if extra.get(kind):
            mask_secret(extra[kind])
    return KaggleCredentials(
        username=connection.login or _first(extra, "username", "kaggle_username"),
        key=connection.password or _first(extra, "key", "kaggle_key"),
        token=_first(extra, "token", "api_token", "access_token", "kaggle_api_token"),
        origin=f"the Airflow connection {name!r}",
    )


def _first(extra: dict[str, str], *names: str) -> str:
    """Returns the first of these entries that exists, or "".

    People paste what Kaggle gave them, in which the same value has different names.
    """
    return next((extra[name] for name in names if name in extra), "")


def kaggle_endpoint() -> str:
    """Returns the host of the Kaggle connection, a server other than Kaggle's; mostly ""."""
    from skin_pipeline.config import read_deployment

    connection = find_connection(read_deployment().kaggle_connection)
    host = ((connection.host if connection else "") or "").strip()
    if not connection or not host or "://" in host:
        return host
    # A connection of the type `http` has protocol and port in separate fields.
    protocol = connection.schema if connection.schema in {"http", "https"} else ""
    port = f":{connection.port}" if connection.port and ":" not in host else ""
    return f"{protocol}://{host}{port}" if protocol else f"{host}{port}"


def find_connection(name: str) -> Connection | None:
    """Returns the Airflow connection of that name, or None."""
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return BaseHook.get_connection(name)
    except AirflowNotFoundException:
        return None


# The entries of a connection's extra that `AwsBaseHook` or this file reads.
EXTRAS = frozenset({
    *("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "session_kwargs"),
    *("region_name", "profile_name", "endpoint_url", "verify", "config_kwargs", "service_config"),
    *("role_arn", "assume_role_method", "assume_role_kwargs", "assume_role_with_saml"),
    "assume_role_with_web_identity_federation",
    "assume_role_with_web_identity_federation_audience",
    "assume_role_with_web_identity_token_file",
})
SESSION = frozenset({"aws_access_key_id", "aws_secret_access_key", "aws_session_token"})


def _s3_access(name: str, setting: str, *, anonymous: bool = False) -> S3Access:
    """Returns the access that the connection `name` gives; boto3's own search without a name.

    `setting` is the setting that names the connection, for messages.
    """
    from skin_pipeline.errors import BadInput
    from skin_pipeline.storage import S3Access

    if not name:
        return S3Access(anonymous=anonymous)
    connection = find_connection(name)
    if connection is None:  # the hook would silently use other credentials
        raise BadInput(
            f"{setting} names the Airflow connection {name!r}, which does not exist: "
            "add it with type `aws`, or leave the setting empty"
        )
    if problem := _unused(connection):
        raise BadInput(f"the Airflow connection {name!r} {problem}")
    hook, config = _hook(name)
    anonymous = anonymous or _is_unsigned(config)
    return S3Access(
        endpoint=hook.conn_config.get_service_endpoint_url("s3") or "",
        credentials={} if anonymous else _credentials(hook, name, setting),
        profile=hook.conn_config.profile_name or "",
        verify=_verify(hook.verify),
        config=config,
        anonymous=anonymous,
        renew=None if anonymous else partial(_s3_access, name, setting),
    )


def _unused(connection: Connection) -> str:
    """Returns what is wrong with a connection, after its name: something in it that nothing reads,
    or half a key pair; "" if nothing is. An entry that is misspelt would otherwise be ignored."""
    from difflib import get_close_matches

    extra = connection.extra_dejson
    for known, given in ((EXTRAS, extra), (SESSION, extra.get("session_kwargs") or {})):
        if unknown := sorted(set(given) - known):
            near = get_close_matches(unknown[0], known | EXTRAS, 1, 0.5)
            return (
                f"has {', '.join(unknown)} in its extra, which is not used"
                + (f"; did you mean {near[0]}?" if near else ".")
                + f" Known there: {', '.join(sorted(known))}"
            )
    if connection.host:
        return "has a host, which is not used: put the server's URL into the extra `endpoint_url`"
    if bool(connection.login) != bool(connection.password):
        return "has half a key pair: the key's id must be in the login, its secret in the password"
    return ""


def _hook(name: str) -> tuple[Any, Any]:
    """Returns Airflow's hook for a connection, and the connection's settings for botocore."""
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
    from botocore.exceptions import BotoCoreError

    from skin_pipeline.errors import BadInput

    hook = AwsBaseHook(aws_conn_id=name, client_type="s3")
    try:
        return hook, hook.conn_config.botocore_config
    # Raised for an unknown option or a wrong value of one. No option here is a secret, so the
    # message may repeat it.
    except (TypeError, ValueError, AttributeError, NotImplementedError, BotoCoreError) as error:
        message = f"the extra of the Airflow connection {name!r} does not fit: {error}"
        raise BadInput(message) from None


def _is_unsigned(config: Any) -> bool:
    from botocore import UNSIGNED

    return config is not None and config.signature_version is UNSIGNED


def _verify(given: Any) -> bool | str | None:
    """Returns whether, or by which file, certificates are checked; "true" as text means True."""
    words = {"true": True, "false": False, "": None}
    return words.get(given.strip().lower(), given) if isinstance(given, str) else given


def _credentials(hook: Any, name: str, setting: str) -> dict[str, str]:
    """Returns the credentials that the hook finds: of a key pair, a profile or an assumed role.

    Raises:
        BadInput: There are none, or the role or the profile is refused.
        Unavailable: The service that gives them does not answer.
    """
    from airflow.sdk.log import mask_secret

    from skin_pipeline.errors import BadInput, PipelineError, Unavailable
    from skin_pipeline.storage import SettingNames, explained

    def found() -> Any:
        credentials = hook.get_session().get_credentials()
        return credentials and credentials.get_frozen_credentials()

    names = SettingNames(connection=setting, rights="assume its role")
    doing = f"get credentials by the Airflow connection {name!r}"
    try:
        frozen = explained(found, doing, (), names)
    except PipelineError:
        raise
    # The connection to a sign-in service failed; the error's message may contain a credential.
    except OSError as error:
        raise Unavailable(f"cannot {doing} now: {type(error).__name__}") from None
    except Exception as error:
        what = f"a part of it is missing or does not fit ({type(error).__name__})"
        raise BadInput(f"cannot {doing}: {what}. Look at its extra") from None
    if not frozen:
        raise BadInput(
            f"the Airflow connection {name!r} holds no credentials: give it a key pair "
            "(login and password), a profile or a role"
        )
    for secret in filter(None, (frozen.secret_key, frozen.token)):
        mask_secret(secret)  # those of a role are in no connection, so Airflow does not know them
    return {
        "aws_access_key_id": frozen.access_key,
        "aws_secret_access_key": frozen.secret_key,
        "aws_session_token": frozen.token or "",
        "region_name": hook.region_name or "",
    }
