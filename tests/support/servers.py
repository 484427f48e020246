"""Real servers that tests talk to, each a context manager that leaves no process behind."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from secrets import choice, token_hex
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

HOST = "127.0.0.1"
PORTS = ("master", "volume", "filer", "s3", "admin")
GRPC_OFFSET = 10_000  # seaweedfs takes port + 10000 beside each port
ASSIGNED = range(10_000, 32_768 - GRPC_OFFSET)  # of Linux; other systems begin above it
STARTS = 3  # another process may take a free port before the server does
START_SECONDS = 120.0
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class S3Server:
    """A running S3 server: where it is, its bucket, and two identities, one of them read-only.

    The one that may write has two pairs of keys, as where one is about to take the other's place.
    """

    endpoint: str
    bucket: str
    access_key: str
    secret: str = field(repr=False)
    second_access_key: str
    second_secret: str = field(repr=False)
    reader_access_key: str
    reader_secret: str = field(repr=False)
    process: Process | None = field(default=None, repr=False)

    def kill(self) -> None:
        """End it at once, whatever it is doing; its data stays."""
        assert self.process
        self.process.kill()

    def restart(self) -> None:
        """Start it again on the same data and ports.

        Raises:
            RuntimeError: it did not come up.
        """
        assert self.process
        self.process.start()
        if not _ready(self.process, self):
            raise RuntimeError(f"seaweedfs did not come up again:\n{self.process.last_words()}")

    @property
    def credentials(self) -> dict[str, str]:
        """Keyword arguments of `boto3.client` for the identity that may write."""
        return _credentials(self.access_key, self.secret)

    @property
    def second_credentials(self) -> dict[str, str]:
        """The same for its other pair of keys."""
        return _credentials(self.second_access_key, self.second_secret)

    @property
    def reader_credentials(self) -> dict[str, str]:
        """The same for the identity that may only read and list."""
        return _credentials(self.reader_access_key, self.reader_secret)


def _credentials(access_key: str, secret: str) -> dict[str, str]:
    return {
        "aws_access_key_id": access_key,
        "aws_secret_access_key": secret,
        "region_name": "us-east-1",
    }


@contextmanager
def seaweedfs(bucket: str = "models") -> Generator[S3Server, None, None]:
    """A seaweedfs S3 server on free loopback ports, up when the block starts.

    Raises:
        RuntimeError: it did not come up; the message ends with the last lines of its log.
    """
    folder = Path(tempfile.mkdtemp(prefix="s3-"))
    try:
        for _ in range(STARTS):
            ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
            server = _server(f"http://{HOST}:{ports['s3']}", bucket)
            with Process(_command(folder, server, ports), folder / "log") as process:
                if _ready(process, server):
                    yield replace(server, process=process)
                    return
        raise RuntimeError(
            f"seaweedfs did not come up in {STARTS} attempts:\n{process.last_words()}"
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def shared_seaweedfs() -> Generator[S3Server, None, None]:
    """A server for processes that did not start it, and cannot kill it."""
    with seaweedfs() as server:
        yield replace(server, process=None)


def _server(endpoint: str, bucket: str) -> S3Server:
    """What the server will be; the secrets are new ones each time."""
    return S3Server(
        endpoint=endpoint,
        bucket=bucket,
        access_key="test-owner",
        secret=f"owner/{token_hex(16)}+",  # AWS makes such ones, and URLs have them quoted
        second_access_key="test-second",
        second_secret=f"second/{token_hex(16)}+",
        reader_access_key="test-reader",
        reader_secret=f"reader/{token_hex(16)}+",
    )


def end_with_parent() -> None:
    """In a child that is about to become another program: be killed when the parent is."""
    if LIBC:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Process:
    """A process that is killed at the end of its block with all that it started.

    It may be killed and started again before.
    """

    def __init__(self, command: list[str], log: Path) -> None:
        self.command = command
        self.log = log

    def __enter__(self) -> Process:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                self.command,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    def kill(self) -> None:
        if self.runs():  # its number may be another's by now
            os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()

    def runs(self) -> bool:
        return self._popen.poll() is None

    def last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])


def _identities(server: S3Server) -> dict[str, Any]:
    people = [
        ("owner", server.access_key, server.secret, ["Admin", "Read", "List", "Write"]),
        ("second", server.second_access_key, server.second_secret, ["Read", "List", "Write"]),
        ("reader", server.reader_access_key, server.reader_secret, ["Read", "List"]),
    ]
    return {
        "identities": [
            {
                "name": name,
                "credentials": [{"accessKey": access_key, "secretKey": secret}],
                "actions": actions,
            }
            for name, access_key, secret, actions in people
        ]
    }


def _command(folder: Path, server: S3Server, ports: dict[str, int]) -> list[str]:
    weed = Path(sys.executable).with_name("weed")
    data = folder / "data"
    data.mkdir(exist_ok=True)
    identities = folder / "identities.json"
    identities.write_text(json.dumps(_identities(server)))
    return [
        str(weed),
        "-logtostderr=true",
        "mini",
        f"-dir={data}",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        *(f"-{name}.port={port}" for name, port in ports.items()),
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-webdav=false",
        "-admin.ui=false",
        "-master.telemetry=false",
        "-master.electionTimeout=1s",
        "-volume.preStopSeconds=0",
        "-s3.autoCreateBucket=false",
        f"-s3.config={identities}",
        f"-bucket={server.bucket}",
        f"-filer.localSocket={folder / 'filer.sock'}",
    ]


def _ready(process: Process, server: S3Server) -> bool:
    """Whether the server keeps objects in time; False as soon as it has ended."""
    deadline = time.monotonic() + START_SECONDS
    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=2),
        **server.credentials,
    )
    while process.runs() and time.monotonic() < deadline:
        with suppress(BotoCoreError, ClientError):  # it says healthy before its disk is there
            place = {"Bucket": server.bucket, "Key": "ready"}
            client.put_object(**place, Body=b"x")
            client.get_object(**place)
            client.delete_object(**place)
            return True
        time.sleep(0.05)
    return False


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that are free now, and so is each one's `GRPC_OFFSET` companion.

    None is one that a system gives by itself: a connection might take it before a server does.
    """
    held: list[socket.socket] = []
    found: list[int] = []
    try:
        while len(found) < count:
            port = _hold(held, choice(ASSIGNED))
            if port and _hold(held, port + GRPC_OFFSET):
                found.append(port)
    finally:
        for each in held:
            each.close()
    return found


def _hold(held: list[socket.socket], port: int) -> int:
    """Bind `port` until the caller closes it; the port, or 0 if it is taken."""
    each = socket.socket()
    held.append(each)
    try:
        each.bind((HOST, port))
    except OSError:
        return 0
    return int(each.getsockname()[1])


@dataclass
class Inbox:
    """What a loopback server was sent. `answers` are the status codes of its next answers; those
    that lead elsewhere lead to `elsewhere`, a path of its own."""

    url: str = ""
    elsewhere: str = "/elsewhere"
    answers: list[int] = field(default_factory=list)
    received: list[SimpleNamespace] = field(default_factory=list)


@contextmanager
def serving(server: socketserver.BaseServer) -> Generator[None, None, None]:
    """The server answers, in a thread, until the block ends."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def webhook_inbox() -> Generator[Inbox, None, None]:
    """A real HTTP server that keeps what is posted to it."""
    inbox = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            inbox.received.append(
                SimpleNamespace(
                    path=self.path, headers=self.headers, body=body, json=json.loads(body)
                )
            )
            status = inbox.answers.pop(0) if inbox.answers else 200
            self.send_response(status)
            if status // 100 == 3:
                self.send_header("Location", f"{inbox.url}{inbox.elsewhere}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            inbox.received.append(SimpleNamespace(path=self.path, headers=self.headers))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer((HOST, 0), Handler) as server:
        inbox.url = f"http://{HOST}:{server.server_port}"
        with serving(server):
            yield inbox


class Proxy:
    """Stands before a server and may change what passes.

    `asked` and `answered` get every chunk of bytes on its way to the server and back, and give
    what is passed on; with an empty one the connection is cut.
    """

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://{HOST}:{port}"
        self.asked: Callable[[bytes], bytes] = bytes
        self.answered: Callable[[bytes], bytes] = bytes


@contextmanager
def proxy(endpoint: str) -> Generator[Proxy, None, None]:
    """A TCP proxy on a free loopback port before the server at `endpoint`."""
    target = urlsplit(endpoint)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            try:
                server = socket.create_connection((target.hostname, target.port))
            except ConnectionRefusedError:
                return  # the server is away: the connection is closed
            with server:
                asked = (self.request, server, lambda chunk: front.asked(chunk))
                asking = threading.Thread(target=_pass_on, args=asked, daemon=True)
                asking.start()
                _pass_on(server, self.request, lambda chunk: front.answered(chunk))
                asking.join()

    with socketserver.ThreadingTCPServer((HOST, 0), Handler) as listener:
        listener.daemon_threads = True
        front = Proxy(listener.server_address[1])
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield front
        finally:
            listener.shutdown()
            thread.join()


def _pass_on(source: socket.socket, sink: socket.socket, change: Callable[[bytes], bytes]) -> None:
    """Pass bytes on until one side closes, then close both."""
    with suppress(OSError):
        while chunk := source.recv(1 << 16):
            passed = change(chunk)
            if not passed:
                break
            sink.sendall(passed)
    for side in (source, sink):
        with suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)
