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
import time
import zipfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple
from urllib.parse import urlsplit

from skin_pipeline.credentials import KaggleCredentials
from skin_pipeline.data.archive import appearing
from skin_pipeline.data.remote import Pause, patiently
from skin_pipeline.errors import BadInput, PipelineError, Unavailable
from skin_pipeline.foreign import hide, line

if TYPE_CHECKING:
    from requests import Response
    from requests.auth import AuthBase

log = logging.getLogger(__name__)

CHUNK = 2**16  # at most so many bytes are lost where a download breaks off
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0  # between two pieces of an answer, not for all of it
SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
SCHEME = "kaggle://"
HOSTS = frozenset({"kaggle.com", "www.kaggle.com", "api.kaggle.com"})
# More than once, if an address is put behind the scheme.
ADDRESS = re.compile(rf"(?:{SCHEME}|(?:https?://)?(?:www\.)?kaggle\.com/)+", re.IGNORECASE)
# What an address goes on with before the names of a data set's owner and of the data set.
DATASETS = re.compile(r"(?:api/v1/datasets/download/|datasets/)")
VERSION = re.compile(r"/versions?/(\d+)$")
# Tabs of a data set's page.
TABS = re.compile(r"/(?:code|data|discussion|suggestions|settings)$")
OTHERS = {
    "competitions": "a competition",
    "c": "a competition",
    "code": "a notebook",
    "kernels": "a notebook",
    "models": "a model",
}
TOKEN = re.compile(r"KGAT_\S+")
OLD_KEY = re.compile(r"[0-9a-f]{32}")  # which is worth something with its user name only
CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
BUSY = {408, 425, 429}
WAYS = (
    "Create an API token or a key on kaggle.com under Settings > API. For Airflow, store it in "
    "the connection `kaggle` (login: user name, password: key; or an API token as password and "
    "no login). Outside Airflow, set KAGGLE_USERNAME and KAGGLE_KEY, or KAGGLE_API_TOKEN"
)


def download(
    dataset: str,
    folder: Path,
    *,
    credentials: KaggleCredentials | None = None,
    endpoint: str = "",
    pause: Pause = time.sleep,
) -> Path:
    """Download a data set as one zip file into `folder`; its path, `OWNER.NAME.zip`.

    The file appears whole or not at all; an earlier one is replaced. A download that breaks off
    is taken up again where it was, twice at most. Proxies and certificates are taken from the
    environment (`HTTPS_PROXY`, `REQUESTS_CA_BUNDLE`).

    Args:
        dataset: `OWNER/NAME` or `OWNER/NAME/versions/NUMBER`, or the data set's address.
        folder: made if missing.
        credentials: by default those that the kaggle client would find: `KAGGLE_API_TOKEN`,
            `~/.kaggle/access_token`, `KAGGLE_USERNAME` and `KAGGLE_KEY`, `kaggle.json`.
        endpoint: URL of a server other than Kaggle's; its own address, in whatever form, counts
            as none.
        pause: waits some seconds before the next attempt.

    Raises:
        BadInput: no or wrong credentials, no such data set for them, or no writable folder.
        Unavailable: Kaggle or its storage cannot be reached, is busy, or broke off each time.
    """
    wanted = _reference(dataset)
    given = _checked(credentials or _found())
    target = folder / f"{wanted.owner}.{wanted.name}.zip"
    log.info("kaggle_download_started dataset=%s", wanted)
    with _client(given, _other_server(endpoint)) as client, appearing(target) as part:
        transfer = _Transfer(partial(_asked, client, wanted, given.origin), part)
        patiently(transfer.attempt, pause)
        size = _zip_size(part, str(wanted))
    log.info("kaggle_download_finished dataset=%s bytes=%d", wanted, size)
    return target


def is_address(where: str) -> bool:
    """Whether a place is one on Kaggle: `kaggle://…`, or an address as the browser shows it."""
    return bool(ADDRESS.match(where.strip()))


class _Reference(NamedTuple):
    """A data set; without a version the newest one."""

    owner: str
    name: str
    version: int | None = None

    def __str__(self) -> str:
        at = "" if self.version is None else f"/versions/{self.version}"
        return f"{self.owner}/{self.name}{at}"


def _reference(dataset: str) -> _Reference:
    """The data set that people mean by its address or by a part of it."""
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
    """The URL of a server in Kaggle's place; "" for Kaggle itself, in whatever form it is named."""
    text = endpoint.strip().rstrip("/")
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:  # a port that is no number, or brackets without an address
        host, port, parts = "", None, urlsplit("")
    if not text or (host in HOSTS and port in {None, 80, 443} and not parts.username):
        return ""
    if parts.scheme not in {"http", "https"} or not host or "@" in text:
        raise BadInput(
            "the host of the Kaggle connection (outside Airflow: SKIN_KAGGLE_ENDPOINT) must be "
            "empty for kaggle.com, or the URL of another server: http://HOST:PORT or "
            f"https://HOST:PORT, without a user name or password. Received: "
            f"{text.rpartition('@')[2]!r}"
        )
    return text


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
            entries = _entries(text, str(path))
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


def _entries(text: str, where: str) -> dict[str, str]:
    try:
        entries = json.loads(text)
        return {name: str(entries[name]) for name in ("username", "key")}
    except (ValueError, KeyError, TypeError):
        pass  # raised below, because a JSON error carries the text
    raise BadInput(f"{where} is not a JSON object with `username` and `key`. {WAYS}")


@contextmanager
def _client(credentials: KaggleCredentials, endpoint: str) -> Generator[Any, None, None]:
    """The kaggle client with exactly these credentials, and with timeouts, which it lacks."""
    from kagglesdk.kaggle_client import KaggleClient
    from kagglesdk.kaggle_env import KaggleEnv

    client = KaggleClient(env=KaggleEnv.PROD)
    http = client.http_client()
    http._endpoint = endpoint or http._endpoint
    http._signed_in = True  # else it looks for credentials itself, which beat the given ones
    with client:
        session = http._session
        session.auth = _auth(credentials)
        session.stream = True  # version 1 would hold the whole zip in memory
        session.headers["Accept-Encoding"] = "identity"  # so that a position means the same twice
        session.send = partial(session.send, timeout=(CONNECT_SECONDS, READ_SECONDS))
        yield client


def _checked(credentials: KaggleCredentials) -> KaggleCredentials:
    """The credentials without what copying adds: spaces and quotes around them, a whole
    `kaggle.json` in the place of its key, a token in the place of a key.

    Raises:
        BadInput: something is missing, or a character that no header can carry is in it; requests
            would put the whole secret in its message about that.
    """
    tidy = _unpacked(credentials)
    hide(tidy.key, tidy.token)
    if not tidy.key and not tidy.token:
        raise BadInput(f"the credentials from {tidy.origin} hold no key and no token. {WAYS}")
    if not tidy.token and (problem := _user_problem(tidy)):
        raise BadInput(f"the credentials from {tidy.origin} {problem}. {WAYS}")
    if not re.fullmatch(r"[!-~]*", tidy.username + tidy.key + tidy.token):
        raise BadInput(
            f"the credentials from {tidy.origin} hold spaces, line breaks or letters that no "
            f"Kaggle key has; copy them again. {WAYS}"
        )
    return tidy


def _unpacked(given: KaggleCredentials) -> KaggleCredentials:
    """Credentials with each part in its place."""
    parts = [_bare(part) for part in (given.username, given.key, given.token)]
    packed = next((part for part in parts if part.startswith("{")), "")
    if packed:
        entries = _entries(packed, given.origin)
        parts = [entries["username"], entries["key"], ""]
    username, key, token = parts
    if TOKEN.fullmatch(key):  # whoever's it is: it tells by itself
        key, token = "", token or key
    return KaggleCredentials(username, key, token, given.origin)


def _bare(text: str) -> str:
    """Text without spaces around it, and without a pair of quotes."""
    text = text.strip()
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1].strip() if quoted else text


def _user_problem(credentials: KaggleCredentials) -> str:
    """What is wrong with the user name that a key needs; "" if nothing."""
    if "@" in credentials.username:
        return "hold an e-mail address where the user name belongs, as in kaggle.com/USERNAME"
    if not credentials.username and OLD_KEY.fullmatch(credentials.key):
        return "hold a key without the user name that it belongs to"
    return ""


def _auth(credentials: KaggleCredentials) -> AuthBase:
    from kagglesdk.kaggle_http_client import KaggleHttpClient
    from requests.auth import HTTPBasicAuth

    if credentials.username and not credentials.token:
        return HTTPBasicAuth(credentials.username, credentials.key)
    bearer: AuthBase = KaggleHttpClient.BearerAuth(credentials.token or credentials.key)
    return bearer


def _asked(client: Any, wanted: _Reference, origin: str, start: int) -> Response:
    """Kaggle's answer to the request for a data set: the open response with the zip file, or
    with its rest from byte `start` on, if the storage can do that."""
    from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest
    from requests import HTTPError, RequestException

    request = ApiDownloadDatasetRequest()
    request.owner_slug, request.dataset_slug = wanted.owner, wanted.name
    if wanted.version is not None:
        request.dataset_version_number = wanted.version
    # Kaggle is asked anew, because its link is signed for a while only; the header goes along
    # to the storage.
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
        problem = _unreachable(error)
    except OSError as error:  # requests looks for the certificates itself
        problem = BadInput(f"Kaggle cannot be asked, check REQUESTS_CA_BUNDLE: {line(error)}")
    # Not raised above: the caught error would hang on to it, and with it the signed request.
    raise problem


def _refused(response: Response, dataset: str, origin: str) -> PipelineError:
    status = response.status_code
    if status == 416:  # the file ends before the position that was asked for
        return _Changed("the data set changed on Kaggle while it was downloaded")
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


class _Changed(Unavailable):
    """What came so far belongs to nothing that the storage has now."""


class _Transfer:
    """A file on its way, of which each attempt fetches what the ones before it did not.

    Args:
        ask: gives the storage's answer to a request for all from a position on.
        path: where the file is to be; it is there from the first attempt on.
    """

    def __init__(self, ask: Callable[[int], Response], path: Path) -> None:
        self._ask = ask
        self._path = path
        self._source: _Source | None = None  # what `path` holds the beginning of
        path.touch(exist_ok=False)

    def attempt(self) -> None:
        """Fetch all that is missing.

        Raises:
            BadInput, Unavailable: it did not come. The next attempt goes on where this one
                stopped if the file is still the same, and from the start if not.
        """
        start = self._path.stat().st_size if self._source else 0
        try:
            response = self._ask(start)
            with response:
                self._take(response, start)
        except _Changed:
            self._source = None
            raise

    def _take(self, response: Response, start: int) -> None:
        source = _source(response, start)
        if response.status_code != 206:
            start = 0  # all of it comes, asked for or not
        elif source is None or source != self._source:
            raise _Changed("the data set changed on Kaggle while it was downloaded")
        if start:
            log.info("kaggle_download_resumed bytes=%d", start)
        self._source = source
        with self._path.open("r+b") as sink:
            sink.truncate(start)
            sink.seek(start)
            _copy(response, sink)
            size = sink.tell()
        if source and size != source.bytes:
            raise Unavailable(f"{size} of {source.bytes} bytes came from Kaggle's storage")


class _Source(NamedTuple):
    """A state of a file in the storage."""

    bytes: int
    tag: str
    changed: str


def _source(response: Response, start: int) -> _Source | None:
    """What an answer is a part of; None if it does not tell, or does not begin at `start`."""
    headers = response.headers
    length: str | None = headers.get("Content-Length")
    if response.status_code == 206:
        match = CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        length = match[2] if match and int(match[1]) == start else None
    encoding = headers.get("Content-Encoding", "identity")
    if length is None or not length.isdecimal() or encoding != "identity":
        return None
    return _Source(int(length), headers.get("ETag", ""), headers.get("Last-Modified", ""))


def _copy(response: Response, sink: BinaryIO) -> None:
    from requests import RequestException

    problem: PipelineError | None = None
    try:
        for chunk in response.iter_content(CHUNK):  # raises below the announced length
            sink.write(chunk)
    except RequestException as error:
        problem = _unreachable(error)
    if problem:
        raise problem


def _zip_size(path: Path, dataset: str) -> int:
    """The size in bytes of a zip file. Raises `Unavailable` if it is none."""
    size = path.stat().st_size
    if not zipfile.is_zipfile(path):
        raise Unavailable(f"what came for {dataset} ({size} bytes) is not a whole zip file")
    return size
