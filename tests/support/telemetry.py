"""Servers of this machine that receive what Airflow tells others: metrics by OTLP and by StatsD."""

from __future__ import annotations

import gzip
import socketserver
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from servers import HOST, serving


@dataclass(frozen=True)
class Point:
    """A figure that was received; of a histogram, its sum."""

    name: str
    labels: dict[str, str]
    value: float


@dataclass
class MetricsReceiver:
    """Where a receiver is, and what it has received."""

    url: str = ""
    points: list[Point] = field(default_factory=list)


@contextmanager
def metrics_receiver() -> Generator[MetricsReceiver, None, None]:
    """A receiver of OTLP over HTTP, as an OpenTelemetry collector is one."""
    received = MetricsReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            received.points += _points(ExportMetricsServiceRequest.FromString(body))
            answer = ExportMetricsServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        received.url = f"http://{HOST}:{server.server_port}"
        with serving(server):
            yield received


def _points(request: Any) -> list[Point]:
    return [
        Point(metric.name, {item.key: _text(item.value) for item in point.attributes}, value)
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point, value in _figures(metric)
    ]


def _figures(metric: Any) -> list[tuple[Any, float]]:
    kind = metric.WhichOneof("data")
    points = getattr(metric, kind).data_points
    if kind in {"sum", "gauge"}:
        return [(point, float(getattr(point, point.WhichOneof("value")))) for point in points]
    return [(point, point.sum) for point in points]


def _text(value: Any) -> str:
    return str(getattr(value, value.WhichOneof("value")))


@contextmanager
def statsd_server() -> Generator[tuple[int, list[str]], None, None]:
    """A StatsD server: its UDP port, and the lines that it has received."""
    lines: list[str] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            lines.extend(self.request[0].decode().splitlines())

    with socketserver.UDPServer((HOST, 0), Handler) as server, serving(server):
        yield server.server_address[1], lines
