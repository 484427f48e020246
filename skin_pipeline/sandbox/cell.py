"""What a confined process may do, how it ended, and what it could give up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from skin_pipeline.errors import PipelineError
from skin_pipeline.sandbox import kernel


class Overflow(PipelineError):
    """A confined process wrote more than it was allowed to."""


@dataclass(frozen=True)
class Cell:
    """What a confined process may do.

    It reads and writes in `folder`, and reads `readable` and what Python needs. Each file that it
    writes has at most `file_bytes`, and everything that it ever writes together at most twice as
    many. It is ended after `seconds`, and gets at most `memory` bytes.
    """

    folder: str
    readable: tuple[str, ...]
    memory: int
    file_bytes: int
    seconds: float


class Ended(NamedTuple):
    """How a confined process ended: exit status, answer, and the end of its error output."""

    status: int
    answer: bytes
    said: str


class Report(NamedTuple):
    """What a process gave up: 0 and empty for what this system does not let it give up.

    `landlock` is a version, `filter` the processor that the filter of system calls is for, and
    `user` the one that the process runs as.
    """

    landlock: int = 0
    filter: str = ""
    namespaces: tuple[str, ...] = ()
    user: str = ""
    capabilities: str = ""

    def line(self) -> str:
        """Returns the report as words of a line of the log."""
        return (
            f"landlock={self.landlock or 'none'} filter={self.filter or 'none'} "
            f"namespaces={','.join(self.namespaces) or 'none'} user={self.user} "
            f"capabilities={self.capabilities or 'kept'} network={self._network()}"
        )

    def _network(self) -> str:
        if self.filter or "network" in self.namespaces:
            return "none"
        return "no-tcp" if self.landlock >= kernel.TCP_VERSION else "open"

    def missing(self) -> list[str]:
        """Returns, in words, what the process may still be able to do here."""
        gaps = {
            "it can read the files that its user may read": self.landlock,
            "it can use the network": self._network() == "none",
            "it can start processes": self.filter,
            "it can look into processes of its user that are not hidden": (
                self.landlock or "user" in self.namespaces
            ),
            "it can send signals to processes of its user": (
                self.filter or self.landlock >= kernel.SCOPES_VERSION
            ),
        }
        return [gap for gap, closed in gaps.items() if not closed]
