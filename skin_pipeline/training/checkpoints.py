"""How far a run has come, kept in the store after each epoch until the run has a result."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from skin_pipeline import arrays
from skin_pipeline.contracts import Epoch
from skin_pipeline.errors import BadInput
from skin_pipeline.storage import Store, scratch

log = logging.getLogger(__name__)

Arrays = list[NDArray[Any]]
UNREADABLE = (ValueError, KeyError, TypeError, OSError, RecursionError)  # of a damaged file


@dataclass
class State:
    """How far a run has come: the stage, the history, the weights of the best epoch, and all
    variables of model and optimizer after the last one."""

    stage: int = 0
    history: list[Epoch] = field(default_factory=list)
    best: Arrays = field(default_factory=list)
    variables: Arrays = field(default_factory=list)

    @property
    def best_epoch(self) -> Epoch | None:
        """The first epoch with the highest validation AUC, of whatever stage."""
        return max(self.history, key=lambda line: line.validation_auc, default=None)

    def epochs_of(self, stage: str) -> list[Epoch]:
        """The history of one stage."""
        return [line for line in self.history if line.stage == stage]


class Checkpoints:
    """States of a run in the store, the newest only, until the run has a result.

    Args:
        store: Where they lie.
        key: The key of the run's result.
    """

    def __init__(self, store: Store, key: str) -> None:
        self._store, self._folder = store, f"{key}/checkpoints"

    def save(self, state: State) -> None:
        """Keep a state, and then no earlier one: whenever this is cut short, one is whole."""
        old = self._store.list(self._folder)
        with scratch() as folder:
            _write(folder / "state.npz", state)
            name = f"{self._folder}/{len(state.history):06}.npz"
            self._store.put_file(name, folder / "state.npz")
        for key in old:
            if key != name:
                self._store.remove(key)

    def latest(self) -> State | None:
        """The newest state that can be read."""
        for key in reversed(self._store.list(self._folder)):
            try:
                with self._store.opened(key) as file:
                    return _read(file)
            # `BadInput`: a key is set, and it is not what a step with this key wrote.
            except (BadInput, *UNREADABLE) as error:
                log.warning('checkpoint_unreadable key=%s error="%s"', key, error)
                self._store.remove(key)
        return None

    def clear(self) -> None:
        """Remove what is left once the run has its result."""
        for key in self._store.list(self._folder):
            self._store.remove(key)


def _write(path: Path, state: State) -> None:
    lines = [line.model_dump(mode="json") for line in state.history]
    about = json.dumps({"stage": state.stage, "history": lines}).encode()
    named = {
        f"{name}_{number:05}": array
        for name in ("best", "variables")
        for number, array in enumerate(getattr(state, name))
    }
    np.savez(path, about=np.frombuffer(about, np.uint8), **named)


def _read(file: BinaryIO) -> State:
    found = arrays.several(file)
    about = json.loads(found["about"].tobytes())
    kept = {
        name: [found[key] for key in sorted(found) if key.startswith(f"{name}_")]
        for name in ("best", "variables")
    }
    return State(about["stage"], [Epoch(**line) for line in about["history"]], **kept)
