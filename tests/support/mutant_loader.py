"""A process that loads model files, and notices what else it does: files, processes, sockets, code.

    python mutant_loader.py sound.keras  # then a line "load PATH" on its input for each file

A sound file is loaded first, so that all that is imported and opened once is. A network is built
once for each recipe: thousands of files have the same.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import model_files as files

from skin_pipeline.errors import BadInput
from skin_pipeline.model_file import loading
from skin_pipeline.model_file.memory import STATUS
from skin_pipeline.training import backbone, runtime

FORBIDDEN = (
    *("os.", "shutil.", "subprocess.", "socket.", "urllib.", "ctypes.dlopen", "tempfile."),
    *("exec", "compile", "import", "marshal.", "pickle.", "code.__new__", "function.__new__"),
)


class Watch:
    """What Python tells of this process while something is loaded."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._watching = False
        self._allowed: set[str] = set()
        sys.addaudithook(self._heard)

    def __call__(self, path: Path, work: Any) -> dict[str, Any]:
        self.seen, self._allowed = [], {str(path), str(STATUS)}
        self._watching = True
        try:
            work(path)
            said = "loaded"
        except BadInput as error:
            said = f"refused: {error}"
        except Exception as error:
            said = f"raised: {error!r}"
        finally:
            self._watching = False
        return {"said": said, "seen": self.seen}

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._watching:
            return
        if event == "open":
            path, _, flags = arguments
            # A file that is open already is opened by its number, and our own copy, which has no
            # name, by its folder's.
            if isinstance(path, int) or os.fspath(path) == tempfile.gettempdir():
                return
            if os.fspath(path) not in self._allowed or flags & (os.O_WRONLY | os.O_RDWR):
                self.seen.append(f"open {path}")
        elif event.startswith(FORBIDDEN):
            self.seen.append(f"{event} {arguments}"[:200])


def load(path: Path) -> None:
    loading.load(path, 1)


def by_plain_keras(path: Path) -> None:
    keras.saving.load_model(path, safe_mode=False)


def main(sound: str) -> None:
    for place, name in (
        (backbone.Network, "untrained"),
        (loading, "rebuilt"),
        (runtime, "keras_on"),
        (metadata, "version"),
        (keras.saving, "serialize_keras_object"),
    ):
        setattr(place, name, functools.cache(getattr(place, name)))
    watch, works = Watch(), {"load": load, "plain": by_plain_keras}
    with files.tiny_backbone():
        for _ in range(2):
            load(Path(sound))
        print("ready", flush=True)
        for line in sys.stdin:
            work, _, path = line.strip().partition(" ")
            print(json.dumps(watch(Path(path), works[work])), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
