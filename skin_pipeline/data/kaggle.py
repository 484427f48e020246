"""Data sets from Kaggle, through the HTTP client of the `kaggle` package.

    download("amirmohammadparvizi/skin-canser-b584m584", Path("work"))

Only the package's own library `kagglesdk` is imported. `import kaggle` itself signs in, which
prints, asks Kaggle, makes a folder in the home directory and, in version 1, raises when the
environment holds no credentials.
"""

from __future__ import annotations

import json
import logging
import os
import re
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skin_pipeline.data.archive import appearing
from skin_pipeline.errors import BadInput, PipelineError, Unavailable

if TYPE_CHECKING:
    from requests import Response
    from requests.auth import AuthBase

log = logging.getLogger(__name__)

CHUNK = 2**20
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0  # between two pieces of an answer, not for all of it
SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
BUSY = {408, 425, 429}
WAYS = (
    "Create an API token or a key on kaggle.com under Settings > API. For Airflow, store it in "
    "the connection `kaggle` (login: user name, password: key; or an API token as password and "
    "no login). Outside Airflow, set KAGGLE_USERNAME and KAGGLE_KEY, or KAGGLE_API_TOKEN"
)


@dataclass(frozen=True)
class KaggleCredentials:
    """Who asks: a user name and key, or an API token, which wins. A key alone is a token.

    `origin` ends the phrase "the credentials from …" in messages.
    """

    username: str = ""
    key: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    origin: str = "the caller"


def download(
    dataset: str,
    folder: Path,
    *,
    credentials: KaggleCredentials | None = None,
    endpoint: str = "",
) -> Path:
    """Download a data set as one zip file into `folder`; its path, `OWNER.NAME.zip`.

    The file appears whole or not at all; an earlier one is replaced. Proxies and certificates
    are taken from the environment (`HTTPS_PROXY`, `REQUESTS_CA_BUNDLE`).

    Args:
        dataset: `OWNER/NAME`, as in the data set's address on kaggle.com.
        folder: made if missing.
        credentials: by default those that the kaggle client would find: `KAGGLE_API_TOKEN`,
            `~/.kaggle/access_token`, `KAGGLE_USERNAME` and `KAGGLE_KEY`, `kaggle.json`.
        endpoint: URL of a server other than Kaggle's.

    Raises:
        BadInput: no or wrong credentials, no such data set for them, or no writable folder.
        Unavailable: Kaggle or its storage cannot be reached, is busy, or broke off.
    """
    owner, name = _slugs(dataset)
    given = _checked(credentials or _found())
    target = folder / f"{owner}.{name}.zip"
    log.info("kaggle_download_started dataset=%s", dataset)
    with _client(given, endpoint) as client, appearing(target) as part:
        response = _asked(client, owner, name, given.origin)
        size = _saved(response, part, dataset)
    log.info("kaggle_download_finished dataset=%s bytes=%d", dataset, size)
    return target


def _slugs(dataset: str) -> tuple[str, str]:
    parts = dataset.split("/")
    if len(parts) != 2 or not all(SLUG.fullmatch(part) for part in parts):
        raise BadInput(
            "a Kaggle data set is named OWNER/NAME, the end of its address on kaggle.com. "
            f"Received: {dataset!r}"
        )
    return parts[0], parts[1]


def _found() -> KaggleCredentials:
    """The credentials of the environment, in the order in which the client looks for them."""
    home = _in_home(".kaggle")
    token = os.environ.get("KAGGLE_API_TOKEN", "")
    if token:
        # `Path.is_file` raises on a long token, with the token in its message.
        is_file = os.path.isfile(token)  # ruff: ignore[os-path-isfile]
        text = _text(Path(token)) if is_file else token
        return KaggleCredentials(token=text, origin="KAGGLE_API_TOKEN")
    for path in (home / "access_token", home / "access_token.txt"):
        if token := _text(path):
            return KaggleCredentials(token=token, origin=str(path))
    return _found_key(home)


def _found_key(home: Path) -> KaggleCredentials:
    name, key = os.environ.get("KAGGLE_USERNAME", ""), os.environ.get("KAGGLE_KEY", "")
    if name and key:
        return KaggleCredentials(name, key, origin="KAGGLE_USERNAME and KAGGLE_KEY")
    for path in _key_files(home):
        if text := _text(path):
            entries = _entries(text, path)
            name, key = name or entries["username"], key or entries["key"]
            return KaggleCredentials(name, key, origin=str(path))
    if name or key:
        raise BadInput(f"KAGGLE_USERNAME and KAGGLE_KEY are needed both; one is empty. {WAYS}")
    raise BadInput(f"no Kaggle credentials were found. {WAYS}")


def _key_files(home: Path) -> list[Path]:
    chosen = os.environ.get("KAGGLE_CONFIG_DIR")
    if chosen:
        return [Path(chosen) / "kaggle.json"]
    xdg = os.environ.get("XDG_CONFIG_HOME")
    config = Path(xdg) if xdg else _in_home(".config")
    return [home / "kaggle.json", config / "kaggle" / "kaggle.json"]


def _in_home(name: str) -> Path:
    # `Path.expanduser` raises where the user has no home, as in some containers.
    return Path(os.path.expanduser(f"~/{name}"))  # ruff: ignore[os-path-expanduser]


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, UnicodeDecodeError):
        pass  # raised below, because a decoding error carries what it could not decode
    raise BadInput(f"{path} holds Kaggle credentials but cannot be read. {WAYS}")


def _entries(text: str, path: Path) -> dict[str, str]:
    try:
        entries = json.loads(text)
        return {name: str(entries[name]) for name in ("username", "key")}
    except (ValueError, KeyError, TypeError):
        pass  # raised below, because a JSON error carries the text
    raise BadInput(f"{path} is not a JSON object with `username` and `key`. {WAYS}")


@contextmanager
def _client(credentials: KaggleCredentials, endpoint: str) -> Generator[Any, None, None]:
    """The kaggle client with exactly these credentials, and with timeouts, which it lacks."""
    from kagglesdk.kaggle_client import KaggleClient
    from kagglesdk.kaggle_env import KaggleEnv

    client = KaggleClient(env=KaggleEnv.PROD)
    http = client.http_client()
    http._endpoint = endpoint.rstrip("/") or http._endpoint
    http._signed_in = True  # else it looks for credentials itself, which beat the given ones
    with client:
        session = http._session
        session.auth = _auth(credentials)
        session.stream = True  # version 1 would hold the whole zip in memory
        session.send = partial(session.send, timeout=(CONNECT_SECONDS, READ_SECONDS))
        yield client


def _checked(credentials: KaggleCredentials) -> KaggleCredentials:
    """The credentials without the spaces around that copying adds.

    Raises:
        BadInput: something is missing, or a character that no header can carry is in it; requests
            would put the whole secret in its message about that.
    """
    tidy = KaggleCredentials(
        credentials.username.strip(),
        credentials.key.strip(),
        credentials.token.strip(),
        credentials.origin,
    )
    if not tidy.key and not tidy.token:
        raise BadInput(f"the credentials from {tidy.origin} hold no key and no token. {WAYS}")
    if not re.fullmatch(r"[!-~]*", tidy.username + tidy.key + tidy.token):
        raise BadInput(
            f"the credentials from {tidy.origin} hold spaces, line breaks or letters that no "
            f"Kaggle key has; copy them again. {WAYS}"
        )
    return tidy


def _auth(credentials: KaggleCredentials) -> AuthBase:
    from kagglesdk.kaggle_http_client import KaggleHttpClient
    from requests.auth import HTTPBasicAuth

    if credentials.username and not credentials.token:
        return HTTPBasicAuth(credentials.username, credentials.key)
    bearer: AuthBase = KaggleHttpClient.BearerAuth(credentials.token or credentials.key)
    return bearer


def _asked(client: Any, owner: str, name: str, origin: str) -> Response:
    """Kaggle's answer to the request for a data set: the open response with the zip file."""
    from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest
    from requests import HTTPError, RequestException

    request = ApiDownloadDatasetRequest()
    request.owner_slug, request.dataset_slug = owner, name
    problem: PipelineError
    try:
        response: Response = client.datasets.dataset_api_client.download_dataset(request)
        return response
    except HTTPError as error:
        problem = _refused(error.response, f"{owner}/{name}", origin)
    except RequestException as error:
        problem = _unreachable(error)
    except OSError as error:  # requests looks for the certificates itself
        problem = BadInput(f"Kaggle cannot be asked, check REQUESTS_CA_BUNDLE: {error}")
    # Not raised above: the caught error would hang on to it, and with it the signed request.
    raise problem


def _refused(response: Response, dataset: str, origin: str) -> PipelineError:
    status = response.status_code
    if response.history:  # Kaggle agreed, and its storage, where the link leads, did not
        return Unavailable(f"Kaggle's storage answered {status} to the download of {dataset}")
    if status == 401:
        return BadInput(f"Kaggle refused the credentials from {origin} (401). {WAYS}")
    if status in (403, 404):
        return BadInput(
            f"Kaggle has no data set {dataset} that the credentials from {origin} may read "
            f"({status}). Check OWNER/NAME on kaggle.com; a private one must be shared with them"
        )
    if status in BUSY or not 400 <= status < 500:
        return Unavailable(f"Kaggle answered {status} to the request for {dataset}; try later")
    return BadInput(f"Kaggle refused the request for {dataset} ({status})")


def _unreachable(error: Exception) -> Unavailable:
    # Only the error's name: its text holds the address, which is signed, or the proxy's password.
    return Unavailable(
        f"the connection to Kaggle failed ({type(error).__name__}). Check the network and, if "
        "used, HTTPS_PROXY and REQUESTS_CA_BUNDLE; or try later"
    )


def _saved(response: Response, path: Path, dataset: str) -> int:
    """Write the zip file to `path`; its size in bytes."""
    from requests import RequestException

    problem: PipelineError | None = None
    with response, path.open("xb") as sink:
        try:
            for chunk in response.iter_content(CHUNK):  # raises below the announced length
                sink.write(chunk)
        except RequestException as error:
            problem = _unreachable(error)
    if problem:
        raise problem
    size = path.stat().st_size
    if not zipfile.is_zipfile(path):
        raise Unavailable(f"what came for {dataset} ({size} bytes) is not a whole zip file")
    return size
