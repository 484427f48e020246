"""What goes wrong with one worker of a cluster alone: its network, its disk, its clock.

Each changes the worker's component before that starts; what is returned does the harm later.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from pathlib import Path

from cluster import Component, Missing
from servers import Proxy
from small_disk import MIB, Disk

SOURCE = Path(__file__).with_name("wrong_clock.c")
DISK_BYTES = 768 * MIB  # a promotion copies the model, of 100 MiB, several times
# In a world of mounts of its own, which ends with the worker; no other process sees the disk.
MOUNTED = 'mount -t tmpfs -o size="$1" tmpfs "$2" && mkdir "$2/tmp" && shift 2 && exec "$@"'


class Line:
    """The network between a worker and S3, with nobody else on it."""

    def __init__(self, front: Proxy, worker: Component) -> None:
        self._front = front
        self._whole = threading.Event()
        self._whole.set()
        self.lost = 0  # pieces that were not passed on, or late
        endpoint = worker.environment["SKIN_S3_ENDPOINT"]
        for name in ("SKIN_S3_ENDPOINT", "AIRFLOW_CONN_TASK_LOGS"):
            value = worker.environment[name]
            worker.environment[name] = value.replace(endpoint, front.endpoint)
        assert json.loads(worker.environment["AIRFLOW_CONN_TASK_LOGS"])["extra"]["endpoint_url"]

    def cut(self) -> None:
        """Close each connection as soon as anything is sent on it."""
        self._front.asked = self._front.answered = self._drop

    def silence(self) -> None:
        """Deliver nothing until it is mended, as where packets are lost: nobody is told."""
        self._whole.clear()
        self._front.asked = self._front.answered = self._hold

    def silence_at(self, words: bytes) -> None:
        """Deliver nothing from the moment on at which the worker says these words."""

        def wait_for_it(chunk: bytes) -> bytes:
            if words not in chunk:
                return chunk
            self.silence()
            return self._hold(chunk)

        self._front.asked = wait_for_it

    def mend(self) -> None:
        """Pass on all again, also what was held."""
        self._front.asked = self._front.answered = bytes
        self._whole.set()

    def _drop(self, _: bytes) -> bytes:
        self.lost += 1
        return b""

    def _hold(self, chunk: bytes) -> bytes:
        self.lost += 1
        self._whole.wait()
        return chunk


class SmallDisk:
    """A small file system with all the local files of a worker: copies from S3, temporary ones."""

    def __init__(self, worker: Component, folder: Path) -> None:
        self._worker, self._folder = worker, folder
        folder.mkdir()
        worker.environment["TMPDIR"] = str(folder / "tmp")
        worker.environment["SKIN_CACHE"] = str(folder / "copies")
        mount = ["unshare", "--mount", "sh", "-c", MOUNTED, "sh", str(DISK_BYTES), str(folder)]
        tried = subprocess.run([*mount, "true"], capture_output=True, text=True, check=False)
        if tried.returncode:
            raise Missing(f"only root may mount a disk: {tried.stderr}")
        worker.command = [*mount, *worker.command]

    @property
    def seen(self) -> Path:
        """Its folder, as other processes reach it while the worker runs."""
        return Path(f"/proc/{self._worker.pid}/root{self._folder}")

    def fill(self) -> None:
        """Leave no block free."""
        Disk(self.seen).fill(0)

    def free(self) -> None:
        Disk(self.seen).free()

    def copies(self) -> int:
        """How many copies from S3 there are."""
        return sum(path.is_file() for path in (self.seen / "copies/copies").rglob("*"))

    def lose_copies(self) -> int:
        """Remove the folder of the copies, whoever reads them now; how many there were."""
        there = self.copies()
        shutil.rmtree(self.seen / "copies", ignore_errors=True)  # others write to it
        return there


def wrong_clock(worker: Component, seconds: int, folder: Path) -> None:
    """Set the clock of a worker ahead, or back; that of its kernel stays.

    Raises:
        Missing: There is no compiler.
    """
    worker.environment.update(clock(seconds, folder))


def clock(seconds: int, folder: Path) -> dict[str, str]:
    """The environment of processes with a wrong clock; see `wrong_clock`."""
    compiler = shutil.which("cc")
    if not compiler:
        raise Missing("cc is not installed: apt-get install gcc")
    library = folder / "wrong_clock.so"
    if not library.exists():
        command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True, capture_output=True)
    return {"LD_PRELOAD": str(library), "WRONG_CLOCK": str(seconds)}
