"""A server on the loopback that plays Kaggle: it checks who asks and serves data sets as zips.

    with KaggleServer({"owner/name": zip_bytes}) as kaggle:
        download("owner/name", folder, credentials=…, endpoint=kaggle.url)

It speaks both dialects of the client: version 2 posts to `DownloadDataset`, version 1 gets
`/api/v1/datasets/download/OWNER/NAME`. Both are answered with a redirect to the "storage", which
is this server under another host name, so that a client must not send it the credentials.
"""

from __future__ import annotations

import json
import threading
from base64 import b64encode
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


@dataclass
class KaggleServer:
    """Serves `datasets` (`OWNER/NAME` to zip bytes) to one user.

    `mode` is how it behaves:
    `ok`; a key of `STATUSES`: Kaggle answers that status; `silent`: never answers; `dropped`:
    hangs up; `page`: answers with an HTML page; `denied`: the storage answers 403; `truncated`:
    the storage stops half-way through the announced length; `unannounced`: it stops half-way and
    had announced no length.
    """

    datasets: dict[str, bytes]
    username: str = "ada"
    key: str = "key-of-ada"
    token: str = "token-of-ada"
    mode: str = "ok"
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
        return self._ask(f"{body['ownerSlug']}/{body['datasetSlug']}")

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
        self.kaggle.seen.append(Seen(self.command, self._path, sender, host))

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
        self.send_response(200)
        self.send_header("Content-Type", "application/zip")
        if mode != "unannounced":
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        whole = mode not in {"truncated", "unannounced"}
        self.wfile.write(data if whole else data[: len(data) // 2])
        return None

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
