"""A proxy before an S3 server at which single requests go wrong, each fault in a way of its own.

with faulty(server.endpoint) as front:
    front.strike(lose_answer, {3})  # the third request from now on
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable, Collection, Container, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from servers import HOST

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: a close throws away what was not sent, and says so
FRAMING = {"connection", "content-length", "transfer-encoding"}  # what the proxy says itself
REFUSAL = "<?xml version='1.0'?><Error><Code>{0}</Code><Message>{1}</Message></Error>"


@dataclass(frozen=True)
class Answer:
    """What a server answers; a HEAD's has the length of a body that does not come."""

    status: int
    headers: HTTPMessage
    body: bytes
    length: int


class Exchange(BaseHTTPRequestHandler):
    """A client's connection; each of its requests goes on to the server over one of its own."""

    server: _Listener
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client or the server is gone
            super().handle()

    def __getattr__(self, name: str) -> Callable[[], None]:
        if not name.startswith("do_"):  # its base looks for do_GET, do_PUT and so on
            raise AttributeError(name)
        return self.meet

    def meet(self) -> None:
        """Treat a request, whatever its method."""
        fault = self.server.front.next()
        fault(self)

    def asked(self) -> bytes:
        """The body of the request, as it comes: over TLS boto3 sends it in chunks."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            return b"".join(self._chunks())
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _chunks(self) -> Iterator[bytes]:
        size = 1
        while size:
            head = self.rfile.readline()
            size = int(head, 16)
            yield head + self.rfile.read(size + 2)

    def begin(self) -> HTTPConnection:
        """Pass the head of the request on; the connection that waits for its body."""
        server = HTTPConnection(urlsplit(self.server.target).netloc)
        server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() != "expect":  # the client was told to go on
                server.putheader(name, value)
        server.endheaders()
        return server

    def ask(self) -> Answer:
        """Pass the request on; what the server answers."""
        with closing(self.begin()) as server:
            server.send(self.asked())
            answer = server.getresponse()
            body = answer.read()
        length = int(answer.headers.get("Content-Length", len(body)))
        return Answer(answer.status, answer.headers, body, length)

    def answer(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in FRAMING:
                self.send_header(name, value)
        self.send_header("Content-Length", str(answer.length))
        self.end_headers()
        self.wfile.write(answer.body)

    def refuse(self, status: int, code: str, message: str = "") -> None:
        """Answer like an S3 server that does not do what it was asked for."""
        body = b"" if self.command == "HEAD" else REFUSAL.format(code, message or code).encode()
        self.answer(Answer(status, HTTPMessage(), body, len(body)))

    def reset(self) -> None:
        """Break the connection, so that the client sees no orderly end."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        os.close(self.connection.detach())

    def log_message(self, *_: object) -> None:
        pass


# --- faults --------------------------------------------------------------------------------------

Fault = Callable[[Exchange], None]


def pass_on(exchange: Exchange) -> None:
    """No fault."""
    exchange.answer(exchange.ask())


def lose_request(exchange: Exchange) -> None:
    """The connection breaks before the request is through."""
    exchange.reset()


def lose_answer(exchange: Exchange) -> None:
    """The connection breaks when the server has done its work."""
    exchange.ask()
    exchange.reset()


def fail(exchange: Exchange) -> None:
    """The server does its work, and says that it failed."""
    exchange.ask()
    exchange.refuse(500, "InternalError")


def slow_down(exchange: Exchange) -> None:
    """The server is too busy to do anything."""
    exchange.asked()
    exchange.refuse(503, "SlowDown")


def stall(exchange: Exchange) -> None:
    """The server does its work; no answer comes until the client gives up and hangs up."""
    exchange.ask()
    exchange.connection.recv(1)
    exchange.close_connection = True


def truncate(exchange: Exchange) -> None:
    """Half of the answer's body comes, or a piece of its first line if it has none."""
    answer = exchange.ask()
    if answer.body:
        exchange.answer(replace(answer, body=answer.body[: len(answer.body) // 2]))
    else:
        exchange.wfile.write(b"HTTP/1.1 2")
    exchange.close_connection = True


def cut_head(exchange: Exchange) -> None:
    """The connection ends in an orderly way after the first header of the answer."""
    answer = exchange.ask()
    exchange.wfile.write(f"HTTP/1.1 {answer.status} OK\r\nServer: cut\r\n".encode())
    exchange.close_connection = True


# --- servers of other kinds -----------------------------------------------------------------------


def forgetful(headers: Collection[str], credentials: Mapping[str, str]) -> Fault:
    """A server that does not heed some headers: they go, and the rest is signed again."""
    signer = Credentials(credentials["aws_access_key_id"], credentials["aws_secret_access_key"])

    def forget(exchange: Exchange) -> None:
        for name in headers:
            del exchange.headers[name]
        resigned = {*headers, "authorization", "host", "expect", "content-length", "connection"}
        kept = {k: v for k, v in exchange.headers.items() if k.lower() not in resigned}
        url = f"{exchange.server.target}{exchange.path}"
        request = AWSRequest(exchange.command, url, headers=kept)
        S3SigV4Auth(signer, "s3", credentials["region_name"]).add_auth(request)
        for name, value in {**request.headers, "Host": urlsplit(url).netloc}.items():
            del exchange.headers[name]
            exchange.headers[name] = value
        exchange.answer(exchange.ask())

    return forget


def without_checksums(status: int, code: str, message: str) -> Fault:
    """A server that knows no checksums in requests, and says so in its own words."""

    def refuse(exchange: Exchange) -> None:
        said = ("x-amz-checksum", "x-amz-sdk-checksum", "x-amz-trailer")
        names = {name.lower() for name in exchange.headers} - {"x-amz-checksum-mode"}
        if any(name.startswith(said) for name in names):
            exchange.asked()
            exchange.refuse(status, code, message)
        else:
            pass_on(exchange)

    return refuse


def expiring(access_key: str, status: int, code: str) -> Fault:
    """A server for which the session of an access key has ended."""

    def refuse(exchange: Exchange) -> None:
        if f"Credential={access_key}/" in exchange.headers["Authorization"]:
            exchange.asked()
            exchange.refuse(status, code)
        else:
            pass_on(exchange)

    return refuse


# --- the proxy -----------------------------------------------------------------------------------


class Front:
    """Counts the requests, and lets a fault strike some of them."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._lock = threading.Lock()
        self.strike(pass_on, ())

    def strike(self, fault: Fault, numbers: Container[int]) -> None:
        """From now on `fault` meets the requests with these numbers, counted from 1."""
        with self._lock:
            self._fault, self._numbers = fault, numbers
            self.requests = self.struck = 0

    def next(self) -> Fault:
        """What becomes of the next request."""
        with self._lock:
            self.requests += 1
            if self.requests not in self._numbers:
                return pass_on
            self.struck += 1
            return self._fault


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, target: str, tls: SSLContext | None) -> None:
        super().__init__((HOST, 0), Exchange)
        self.target = target
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.front = Front(f"{'https' if tls else 'http'}://{HOST}:{self.server_port}")

    def handle_error(self, *_: object) -> None:
        """Say nothing: a client that does not trust the certificate hangs up."""


@contextmanager
def faulty(endpoint: str, tls: SSLContext | None = None) -> Generator[Front, None, None]:
    """A proxy on a free loopback port before the server at `endpoint`."""
    with _Listener(endpoint, tls) as listener:
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield listener.front
        finally:
            listener.shutdown()
            thread.join()
