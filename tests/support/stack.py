"""The containers of docker-compose.yaml, started and stopped by `make` as people do it.

They run from a copy of the checkout, with secrets, ports and a name of its own. What that copy has
beside it: a file of settings, and a `docker-compose.override.yaml` that mounts some real images
and, where no registry is reached, names the images that stand in (`stand_ins.py`).
"""

from __future__ import annotations

import configparser
import json
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import stand_ins
import yaml
from cluster import DAG, Airflow
from local_airflow import CHECKOUT, Api
from servers import HOST, free_ports

PROJECT = "skin-stack-test"
LABEL = f"label=com.docker.compose.project={PROJECT}"
BUILT_HERE = "skin-pipeline:local"


@dataclass
class Stack(Airflow):
    """The containers, as people see them from outside, and as who runs them sees them."""

    folder: Path
    environment: Mapping[str, str]
    s3: str

    def make(self, target: str, words: str = "") -> str:
        """Run a target of make; what it said."""
        command: list[str | Path] = ["make", "--no-print-directory", target, f"ARGS={words}"]
        return self._run(command)

    def compose(self, *words: str) -> str:
        """Run a command of Compose; what it said."""
        return self._run(["docker", "compose", "--profile", "*", *words])

    def docker(self, *words: str) -> str:
        """Run a command of Docker; what it said."""
        return self._run(["docker", *words])

    def _run(self, command: list[str | Path]) -> str:
        done = subprocess.run(
            command,
            env=dict(self.environment),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}:\n{(done.stdout + done.stderr)[-3000:]}"
        return done.stdout

    def secret(self, name: str) -> str:
        """Return one of the secrets that `make compose-secrets` wrote."""
        return (self.folder / "var/secrets" / name).read_text()

    def keys(self, name: str) -> dict[str, str]:
        """Return keys of the S3 server, as boto3 takes them."""
        file = configparser.ConfigParser()
        file.read_string(self.secret(name))
        return {**dict(file[file.sections()[0]]), "region_name": "us-east-1"}

    def containers(self) -> dict[str, dict[str, Any]]:
        """Return what Docker knows of each service's container."""
        names = self.docker("ps", "--all", "--quiet", "--filter", LABEL).split()
        found = json.loads(self.docker("inspect", *names)) if names else []
        return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in found}

    def left(self) -> list[str]:
        """Return what there is of the stack: containers, networks, volumes."""
        return [
            f"{kind} {name}"
            for kind, every in (("container", ["--all"]), ("network", []), ("volume", []))
            for name in self.docker(kind, "ls", *every, "--quiet", "--filter", LABEL).split()
        ]

    def login(self) -> None:
        """Get a token of the API as admin."""
        self.api.login(self.secret("admin_password"))

    def begin(self) -> None:
        """Wait until the DAG is known, and let its runs begin."""
        self.wait(lambda: self.api.get(f"dags/{DAG}"), f"the DAG {DAG}")
        self.api.patch(f"dags/{DAG}?update_mask=is_paused", {"is_paused": False})

    def healthy(self) -> bool:
        """Return whether Airflow says that all of its parts are."""
        with_parts = self.api.get("monitor/health")
        return all(part["status"] == "healthy" for part in with_parts.values())


@contextmanager
def stack(settings: Mapping[str, str], mounts: Mapping[Path, str]) -> Generator[Stack, None, None]:
    """Yields a stack that is set up and not started; nothing is left of it afterwards.

    Args:
        settings: Lines of `settings.env`.
        mounts: Folders that the workers can read, and where.

    Raises:
        Missing: There is no engine, and none can be started.
    """
    with stand_ins.engine() as environment:
        made = _set_up(environment, settings, mounts)
        try:
            yield made
        finally:
            if (made.folder / ".env").exists():
                made.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
            shutil.rmtree(made.folder)


def _set_up(
    environment: dict[str, str], settings: Mapping[str, str], mounts: Mapping[Path, str]
) -> Stack:
    folder = Path(tempfile.mkdtemp(prefix="stack-"))
    _copy_checkout(folder)
    pages, s3, charts = free_ports(3)
    (folder / "settings.env").write_text("".join(f"{k}={v}\n" for k, v in settings.items()))
    chosen = {
        **{"COMPOSE_PROJECT_NAME": PROJECT, "PORT": pages, "S3_PORT": s3, "GRAFANA_PORT": charts},
        "SKIN_SCHEDULE": "",
        "LOST_AFTER_SECONDS": 150,  # all of it shares the cores
    }
    (folder / ".env").write_text("".join(f"{k}={v}\n" for k, v in chosen.items()))
    override: dict[str, Any] = {name: _reading(mounts) for name in ("worker-1", "worker-2")}
    if not stand_ins.reaches_a_registry(environment):
        stand_ins.make_images(environment)
        _stand_in(override)
    (folder / "docker-compose.override.yaml").write_text(yaml.safe_dump({"services": override}))
    return Stack(Api(f"http://{HOST}:{pages}"), folder, environment, f"http://{HOST}:{s3}")


def _copy_checkout(folder: Path) -> None:
    """Copies what belongs to the project, changed or not."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (CHECKOUT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, folder / name)


def _reading(mounts: Mapping[Path, str]) -> dict[str, Any]:
    return {
        "volumes": [
            {"type": "bind", "source": str(source), "target": target, "read_only": True}
            for source, target in mounts.items()
        ]
    }


def _stand_in(override: dict[str, Any]) -> None:
    """Names the images that stand in, and what the image of the pipeline is built on."""
    services = yaml.safe_load((CHECKOUT / "docker-compose.yaml").read_text())["services"]
    for name, service in services.items():
        if service["image"] == BUILT_HERE:
            args = {"PYTHON_IMAGE": stand_ins.PYTHON}
            override.setdefault(name, {})["build"] = {"args": args}
    for name in ("postgres", "redis", "store"):
        override[name] = {"image": stand_ins.SERVERS}
    override["postgres"]["entrypoint"] = ["postgres.sh"]
