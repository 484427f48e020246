"""What a process of ours lives among, which code that has taken it over would like to have."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SECRET = "planted-secret-0f7c"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that any user reaches; pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="attacked-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


class World:
    """What a process of ours lives among: secrets, servers, and processes of the same user."""

    def __init__(self, place: Path, open_for: ExitStack) -> None:
        self.place = place
        self.secrets = place / "home"
        self.secrets.mkdir(mode=0o700)
        self.paths = {name: self._file(name) for name in ("key.pem", "credentials", "airflow.cfg")}
        environment = {"SKIN_SIGNING_PASSWORD": SECRET}
        self.bystander = subprocess.Popen(["/bin/sleep", "600"], env=environment)
        open_for.callback(self.bystander.wait)
        open_for.callback(self.bystander.kill)
        self.servers = [open_for.enter_context(made) for made in self._servers()]

    def _file(self, name: str) -> str:
        path = self.secrets / name
        path.write_text(SECRET)
        path.chmod(0o600)
        return str(path)

    def _servers(self) -> Iterator[socket.socket]:
        yield socket.create_server(("127.0.0.1", 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        yield udp
        for address in (str(self.secrets / "socket"), f"\0{self.abstract}"):
            server = socket.socket(socket.AF_UNIX)
            server.bind(address)
            server.listen()
            yield server

    @property
    def abstract(self) -> str:
        return f"attacked-{self.place.name}"

    @property
    def daemon(self) -> Path:
        return self.secrets / "daemon"

    def facts(self) -> dict[str, Any]:
        return {
            "secret": SECRET,
            "bystander": self.bystander.pid,
            "key": self.paths["key.pem"],
            "spare": self._file("spare"),
            "files": list(self.paths.values()),
            "folder": str(self.secrets),
            "checkout": str(ROOT),
            "tcp": self.servers[0].getsockname()[1],
            "udp": self.servers[1].getsockname()[1],
            "unix": str(self.secrets / "socket"),
            "abstract": self.abstract,
            "daemon": str(self.daemon),
        }

    def harm(self) -> dict[str, str]:
        """What was done to it."""
        done = {}
        if self.bystander.poll() is not None:
            done["signals"] = "a bystander was killed"
        if self.daemon.exists():
            with suppress(ProcessLookupError):
                os.kill(int(self.daemon.read_text()), signal.SIGKILL)
            done["daemon"] = "a process stayed"
        return done
