"""Downloads data sets from Kaggle, with the HTTP client of the `kaggle` package.

    download("amirmohammadparvizi/skin-canser-b584m584", Path("work"))

Only `kagglesdk`, the library below the package, is imported. `import kaggle` would sign in at once:
it prints, sends a request to Kaggle, makes a folder in the home directory and, in version 1, raises
if the environment has no credentials.
"""

from __future__ import annotations

import logging
import re
import time
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from skin_pipeline.credentials import KaggleCredentials
from skin_pipeline.data.disk import appearing
from skin_pipeline.data.sources.kaggle_credentials import WAYS, checked, found
from skin_pipeline.data.sources.kaggle_transfer import Changed, Transfer, state_in, unreachable
from skin_pipeline.data.sources.patience import Pause, patiently
from skin_pipeline.errors import BadInput, PipelineError, Unavailable
from skin_pipeline.foreign import line

if TYPE_CHECKING:
    from requests import Response
    from requests.auth import AuthBase

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0  # between two pieces of an answer, not for all of it
SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
SCHEME = "kaggle://"
HOSTS = frozenset({"kaggle.com", "www.kaggle.com", "api.kaggle.com"})
# The `+`: people write a whole address after `kaggle://`.
ADDRESS = re.compile(rf"(?:{SCHEME}|(?:https?://)?(?:www\.)?kaggle\.com/)+", re.IGNORECASE)
# The part of an address between the host and the names of owner and data set.
DATASETS = re.compile(r"(?:api/v1/datasets/download/|datasets/)")
VERSION = re.compile(r"/versions?/(\d+)$")
# The tabs of a data set's page have addresses of their own, which people copy too.
TABS = re.compile(r"/(?:code|data|discussion|suggestions|settings)$")
# Pages with addresses of the same shape, which cannot be downloaded as a data set.
OTHERS = {
    "competitions": "a competition",
    "c": "a competition",
    "code": "a notebook",
    "kernels": "a notebook",
    "models": "a model",
}
BUSY = {408, 425, 429}


def download(
    dataset: str,
    folder: Path,
    *,
    credentials: KaggleCredentials | None = None,
    endpoint: str = "",
    pause: Pause = time.sleep,
) -> Path:
    """Downloads a data set as one zip file into `folder`.

    The file appears whole or not at all, and replaces an earlier one. An interrupted download
    continues where it stopped, at most twice. Proxies and certificates come from the environment
    (`HTTPS_PROXY`, `REQUESTS_CA_BUNDLE`).

    Args:
        dataset: `OWNER/NAME` or `OWNER/NAME/versions/NUMBER`, or the data set's address.
        folder: It is made if it is missing.
        credentials: By default those that the kaggle client would find: `KAGGLE_API_TOKEN`,
            `~/.kaggle/access_token`, `KAGGLE_USERNAME` and `KAGGLE_KEY`, `kaggle.json`.
        endpoint: URL of a server other than Kaggle's. Kaggle's own address, in any form, is the
            same as none.
        pause: Called with the seconds to wait before the next attempt.

    Returns:
        The file's path, `OWNER.NAME.zip` in `folder`.

    Raises:
        BadInput: The credentials are missing, wrong, or may not read such a data set; or the folder
            cannot be written.
        Unavailable: Kaggle or its storage cannot be reached, is busy, or broke off each time.
    """
    wanted = _reference(dataset)
    given = checked(credentials or found())
    target = folder / f"{wanted.owner}.{wanted.name}.zip"
    log.info("kaggle_download_started dataset=%s", wanted)
    with _client(given, _other_server(endpoint)) as client, appearing(target) as part:
        transfer = Transfer(partial(_answer, client, wanted, given.origin), part)
        patiently(transfer.attempt, pause)
        size = _zip_size(part, str(wanted))
    log.info("kaggle_download_finished dataset=%s bytes=%d", wanted, size)
    return target


def state_of(
    dataset: str,
    *,
    credentials: KaggleCredentials | None = None,
    endpoint: str = "",
    pause: Pause = time.sleep,
) -> tuple[str, str]:
    """Returns the name of a data set's zip file, and what Kaggle's storage says of its state: ""
    if it says nothing by which a change would be noticed. Nothing is downloaded.

    Raises:
        BadInput, Unavailable: As `download`.
    """
    wanted = _reference(dataset)
    given = checked(credentials or found())

    def ask() -> str:
        with (
            _client(given, _other_server(endpoint)) as client,
            _answer(client, wanted, given.origin, 0) as response,
        ):
            return state_in(response)

    state = patiently(ask, pause)
    return f"{wanted.owner}.{wanted.name}.zip", f"kaggle {wanted} {state}" if state else ""


def is_address(source: str) -> bool:
    """Returns whether a source is on Kaggle: `kaggle://…`, or an address that a browser shows."""
    return bool(ADDRESS.match(source.strip()))


class _Reference(NamedTuple):
    """A data set. Without `version`, its newest version is meant."""

    owner: str
    name: str
    version: int | None = None

    def __str__(self) -> str:
        at = "" if self.version is None else f"/versions/{self.version}"
        return f"{self.owner}/{self.name}{at}"


def _reference(dataset: str) -> _Reference:
    """Returns the data set that an address or a part of one means."""
    text = dataset.strip()
    if found := ADDRESS.match(text):
        text = re.split(r"[?#]", text[found.end() :])[0]
    text = text.removesuffix("/")
    kind, _, rest = text.partition("/")
    if kind in OTHERS and rest:
        raise BadInput(
            f"{dataset.strip()!r} is {OTHERS[kind]} on Kaggle, no data set. Give "
            f"{SCHEME}OWNER/NAME; of a competition, accept the rules on kaggle.com, download its "
            "zip there, and give the path of that file"
        )
    text = TABS.sub("", DATASETS.sub("", text, count=1))
    version = VERSION.search(text)
    parts = VERSION.sub("", text).split("/")
    if len(parts) != 2 or not all(SLUG.fullmatch(part) for part in parts):
        raise BadInput(
            "a Kaggle data set is named OWNER/NAME, the end of its address on kaggle.com, or "
            f"OWNER/NAME/versions/NUMBER. Received: {dataset!r}"
        )
    return _Reference(parts[0], parts[1], int(version[1]) if version else None)


def _other_server(endpoint: str) -> str:
    """Returns the URL of another server; "" for Kaggle itself, in any form."""
    text = endpoint.strip().rstrip("/")
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:  # a port that is no number, or brackets without an address
        host, port, parts = "", None, urlsplit("")
    if not text or (host in HOSTS and port in {None, 80, 443} and not parts.username):
        return ""
    odd = not host or re.search(r"[^\w.:-]", host)
    if parts.scheme not in {"http", "https"} or odd or "@" in text:
        raise BadInput(
            "the host of the Kaggle connection (outside Airflow: SKIN_KAGGLE_ENDPOINT) must be "
            "empty for kaggle.com, or the URL of another server: http://HOST:PORT or "
            f"https://HOST:PORT, without a user name or password. Received: "
            f"{text.rpartition('@')[2]!r}"
        )
    return text


@contextmanager
def _client(credentials: KaggleCredentials, endpoint: str) -> Generator[Any, None, None]:
    """Yields the kaggle client with exactly these credentials, and with timeouts (it has none)."""
    from kagglesdk.kaggle_client import KaggleClient
    from kagglesdk.kaggle_env import KaggleEnv

    client = KaggleClient(env=KaggleEnv.PROD)
    http = client.http_client()
    http._endpoint = endpoint or http._endpoint
    http._signed_in = True  # otherwise it looks for other credentials and prefers them
    with client:
        session = http._session
        session.auth = _auth(credentials)
        session.stream = True  # otherwise version 1 keeps the whole zip in memory
        # In a compressed answer, a position would not mean the same bytes in the next attempt.
        session.headers["Accept-Encoding"] = "identity"
        session.send = partial(session.send, timeout=(CONNECT_SECONDS, READ_SECONDS))
        yield client


def _auth(credentials: KaggleCredentials) -> AuthBase:
    from kagglesdk.kaggle_http_client import KaggleHttpClient
    from requests.auth import HTTPBasicAuth

    if credentials.username and not credentials.token:
        return HTTPBasicAuth(credentials.username, credentials.key)
    bearer: AuthBase = KaggleHttpClient.BearerAuth(credentials.token or credentials.key)
    return bearer


def _answer(client: Any, wanted: _Reference, origin: str, start: int) -> Response:
    """Requests a data set from Kaggle.

    Returns:
        The open response: the zip file from byte `start` on, or all of it if the storage cannot
        begin in the middle.
    """
    from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest
    from requests import HTTPError, RequestException

    request = ApiDownloadDatasetRequest()
    request.owner_slug, request.dataset_slug = wanted.owner, wanted.name
    if wanted.version is not None:
        request.dataset_version_number = wanted.version
    # Each attempt begins at Kaggle, which redirects to its storage with a link that is valid for a
    # short time only. The header `Range` is passed on to the storage.
    headers = client.http_client()._session.headers
    headers.pop("Range", None)
    headers.update({"Range": f"bytes={start}-"} if start else {})
    problem: PipelineError
    try:
        response: Response = client.datasets.dataset_api_client.download_dataset(request)
        return response
    except HTTPError as error:
        problem = _refused(error.response, str(wanted), origin)
    except RequestException as error:
        problem = unreachable(error)
    except OSError as error:  # requests cannot open the file of certificates
        problem = BadInput(f"Kaggle cannot be reached, check REQUESTS_CA_BUNDLE: {line(error)}")
    # Raised here, not within `except`: there the new error would keep the old one, and with it the
    # signed request.
    raise problem


def _refused(response: Response, dataset: str, origin: str) -> PipelineError:
    status = response.status_code
    if status == 416:  # the file ends before the requested position
        return Changed("the data set changed on Kaggle while it was downloaded")
    if response.history:  # Kaggle redirected to its storage, which refused
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


def _zip_size(path: Path, dataset: str) -> int:
    """Returns the size in bytes of a zip file. Raises `Unavailable` if the file is no zip."""
    size = path.stat().st_size
    if not zipfile.is_zipfile(path):
        raise Unavailable(f"what came for {dataset} ({size} bytes) is not a whole zip file")
    return size
