"""A server on the loopback that plays Kaggle: it checks who asks and serves data sets as zips.

    with KaggleServer({"owner/name": zip_bytes}) as kaggle:
        download("owner/name", folder, credentials=…, endpoint=kaggle.url)

It speaks both dialects of the client: version 2 posts to `DownloadDataset`, version 1 gets
`/api/v1/datasets/download/OWNER/NAME`. Both are answered with a redirect to the "storage", which
is this server under another host name, so that a client must not send it the credentials.
"""

from __future__ import annotations

import hashlib
import json
import threading
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

RPC = "/v1/datasets.DatasetApiService/DownloadDataset"
REST = "/api/v1/datasets/download/"
STORAGE = "/storage/"
SIGNATURE = "signature-of-the-link"
STATUSES = {"forbidden": 403, "busy": 429, "broken": 500, "down": 503, "odd": 418}


@dataclass
class Seen:
    """One request that came in."""

    method: str
    path: str
    authorization: str
    host: str
    range: str


@dataclass
class KaggleServer:
    """Serves `datasets` (`OWNER/NAME`, or with `/versions/NUMBER`, to zip bytes) to one user.

    `mode` is how it behaves:
    `ok`; a key of `STATUSES`: Kaggle answers that status; `silent`: never answers; `dropped`:
    hangs up; `page`: answers with an HTML page; `denied`: the storage answers 403; `truncated`:
    the storage stops half-way through the announced length; `unannounced`: it stops half-way and
    had announced no length.

    `breaks` are the numbers of bytes after which the storage's next answers break off; each of
    them then calls `broken`, which may change the server. `ranges`: how the storage takes a
    `Range`: `honoured`, `ignored` (all comes), `shifted` (other bytes come than were asked for)
    or `short` (fewer). `tags`: whether it tells an ETag. `surplus`: how many bytes more it
    announces than it has. `encoding`: a Content-Encoding that it claims.
    """

    datasets: dict[str, bytes]
    username: str = "ada"
    key: str = "key-of-ada"
    token: str = "token-of-ada"
    mode: str = "ok"
    breaks: list[int] = field(default_factory=list)
    broken: Callable[[], None] = lambda: None
    ranges: str = "honoured"
    tags: bool = True
    surplus: int = 0
    encoding: str = ""
    seen: list[Seen] = field(default_factory=list)

    def __enter__(self) -> KaggleServer:
        self._closing = threading.Event()
        handler = type("Handler", (_Handler,), {"kaggle": self, "closing": self._closing})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        """The port it listens on; free again after the `with` block."""
        port: int = self._http.server_address[1]
        return port

    @property
    def url(self) -> str:
        """What to give as `endpoint`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def accepted(self) -> set[str]:
        """The Authorization headers that it lets in."""
        basic = b64encode(f"{self.username}:{self.key}".encode()).decode()
        return {f"Basic {basic}", f"Bearer {self.token}"}


class _Handler(BaseHTTPRequestHandler):
    kaggle: KaggleServer
    closing: threading.Event

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._note()
        if self._path != RPC:
            return self._error(404)
        version = body.get("datasetVersionNumber")
        at = f"/versions/{version}" if version else ""
        return self._ask(f"{body['ownerSlug']}/{body['datasetSlug']}{at}")

    def do_GET(self) -> None:
        self._note()
        if self._path.startswith(STORAGE):
            return self._send_zip(self._path.removeprefix(STORAGE))
        if self._path.startswith(REST):
            return self._ask(self._path.removeprefix(REST))
        return self._error(404)

    @property
    def _path(self) -> str:
        return urlsplit(self.path).path  # a proxy is sent a whole URL

    def _note(self) -> None:
        sender = self.headers.get("Authorization", "")
        host = self.headers["Host"]
        part = self.headers.get("Range", "")
        self.kaggle.seen.append(Seen(self.command, self._path, sender, host, part))

    def _ask(self, dataset: str) -> None:
        mode = self.kaggle.mode
        if mode == "silent":
            self.closing.wait()
        if mode in {"silent", "dropped"}:
            self.close_connection = True
        elif self.headers.get("Authorization") not in self.kaggle.accepted:
            self._error(401)
        elif mode in STATUSES:
            self._error(STATUSES[mode])
        elif dataset not in self.kaggle.datasets:
            self._error(404)
        elif mode == "page":
            self._answer(200, b"<html>Please log in</html>", "text/html")
        else:
            self._redirect(dataset)

    def _redirect(self, dataset: str) -> None:
        host = "localhost" if self.headers["Host"].startswith("127.") else "storage.test"
        self.send_response(302)
        port = self.kaggle.port
        self.send_header(
            "Location", f"http://{host}:{port}{STORAGE}{dataset}?X-Goog-Signature={SIGNATURE}"
        )
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_zip(self, dataset: str) -> None:
        mode, data = self.kaggle.mode, self.kaggle.datasets[dataset]
        if mode == "denied":
            return self._answer(403, b"<Error/>", "application/xml")
        start = self._start()
        if start >= len(data) > 0:
            return self._answer(416, b"<Error/>", "application/xml")
        part = data[start : start + 1000 if start and self.kaggle.ranges == "short" else None]
        self.send_response(206 if start else 200)
        self._send_headers(data, start, part)
        self._send_part(part[: len(part) // 2] if mode in {"truncated", "unannounced"} else part)
        return None

    def _start(self) -> int:
        """The first byte that is sent."""
        if not self.headers.get("Range") or self.kaggle.ranges == "ignored":
            return 0
        asked = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        return asked - 1 if self.kaggle.ranges == "shifted" else asked

    def _send_headers(self, data: bytes, start: int, part: bytes) -> None:
        self.send_header("Content-Type", "application/zip")
        if self.kaggle.tags:
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        if self.kaggle.encoding:
            self.send_header("Content-Encoding", self.kaggle.encoding)
        if start:
            where = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
            self.send_header("Content-Range", where)
        if self.kaggle.mode != "unannounced":
            self.send_header("Content-Length", str(len(part) + self.kaggle.surplus))
        self.end_headers()

    def _send_part(self, part: bytes) -> None:
        broken = bool(self.kaggle.breaks)
        self.wfile.write(part[: self.kaggle.breaks.pop(0)] if broken else part)
        if broken:
            self.kaggle.broken()

    def _error(self, status: int) -> None:
        body = json.dumps({"code": status, "message": f"no ({status})"}).encode()
        self._answer(status, body, "application/json")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the tests look at what the client prints."""
