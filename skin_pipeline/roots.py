"""Which files of a machine the settings of a run may name.

    roots = Roots.of(read_deployment(), by_others=True)   # in Airflow: only what SKIN_PATHS names
    path = roots.path("~/lesions")                   # without links, or `BadInput`

The person who triggers a run chooses its settings, and mostly may not read all files that the
worker can read. So a run must not read just any file for that person.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from skin_pipeline.config import Deployment, parts
from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import shown

SETTING = "SKIN_PATHS"


@dataclass(frozen=True)
class Roots:
    """Folders that paths must be below, themselves without links; None for anywhere."""

    folders: tuple[str, ...] | None = None

    @classmethod
    def of(cls, deployment: Deployment, *, by_others: bool) -> Roots:
        """Returns the folders that a deployment names.

        If it names none, others (`by_others`: who starts a run in Airflow) may give no path at all,
        and the person at the command line may give any.
        """
        folders = tuple(os.path.realpath(folder) for folder in parts(deployment.paths))
        return cls(folders if folders or by_others else None)

    def hold(self, real: str) -> bool:
        """Returns whether a path without links is in one of the folders."""
        return self.folders is None or any(
            # With the slash, since `/srv/images-of-others` is not below `/srv/images`.
            f"{real}/".startswith(f"{folder.rstrip('/')}/")
            for folder in self.folders
        )

    def path(self, where: str) -> Path:
        """Returns the path that a setting names: without links, unless it may be anywhere.

        Raises:
            BadInput: it is no path, or is elsewhere. The error does not reveal what is there.
        """
        try:
            path = Path(where).expanduser()
            real = "" if self.folders is None else os.path.realpath(path)
        except (RuntimeError, ValueError, OSError):  # no such user, a NUL, too long a name
            raise BadInput(
                f"{shown(where)} is no path. Give one without `~` and special characters"
            ) from None
        if self.folders is None:
            return path
        if not self.hold(real):
            raise BadInput(self._refusal(where))
        return Path(real)

    def _refusal(self, where: str) -> str:
        named = ", ".join(self.folders or ()) or "none"
        return (
            f"{shown(where)} may not be read: a path in the settings of a run must be, links "
            f"followed, below a folder that {SETTING} names. It names: {named}. The operator of "
            f"this installation can add the folder to {SETTING} of all workers; "
            "`kaggle://OWNER/NAME`, `s3://BUCKET/PREFIX`, `demo` and the weights `imagenet` need "
            "no path"
        )


ANYWHERE = Roots()
