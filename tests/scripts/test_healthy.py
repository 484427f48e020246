"""The health checks of docker-compose.yaml. tests/cluster/test_restore.py has a real database for
them, tests/cluster/test_stack.py real containers.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import healthy
import pytest
import yaml
from servers import HOST, free_ports, serving

CHECKOUT = Path(__file__).parents[2]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(403 if self.path == "/log/" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer((HOST, 0), Handler) as server, serving(server):
        yield f"http://{HOST}:{server.server_port}"


def test_a_server_is_well_if_it_answers_as_it_should(url: str) -> None:
    assert healthy.main(["answers", f"{url}/health"]) == 0
    assert healthy.main(["answers", f"{url}/log/"]) == 1
    assert healthy.main(["answers", f"{url}/log/", "403"]) == 0
    assert healthy.main(["answers", f"{url}/health", "403"]) == 1


def test_who_does_not_answer_is_not_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    monkeypatch.setattr(healthy, "SECRETS", tmp_path)
    (tmp_path / "database_url").write_text(f"postgresql+psycopg2://a:b@{HOST}:{port}/c")
    (tmp_path / "broker_url").write_text(f"redis://:b@{HOST}:{port}/0")
    assert healthy.main(["answers", f"http://{HOST}:{port}/"]) == 1
    assert healthy.main(["job", "TriggererJob"]) == 1
    assert healthy.main(["worker"]) == 1


def test_it_does_not_import_airflow() -> None:
    seen = (
        "import sys, healthy, psycopg2, celery, kombu.exceptions; print('airflow' in sys.modules)"
    )
    path = str(CHECKOUT / "scripts")
    said = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {path!r}); {seen}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "False\n"


def test_each_check_of_compose_is_one_that_there_is() -> None:
    services = yaml.safe_load((CHECKOUT / "docker-compose.yaml").read_text())["services"]
    checks = [
        service["healthcheck"]["test"][4:]
        for service in services.values()
        if "scripts/healthy.py" in service.get("healthcheck", {}).get("test", [])
    ]
    assert {check[0] for check in checks} == {"answers", "job", "worker"}
    assert len(checks) == 11
