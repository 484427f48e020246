"""How far a run has come, kept in the store after each epoch.

    checkpoints = Checkpoints(store, "train/3f…")
    state = checkpoints.latest() or State()        # where an earlier try was stopped
    checkpoints.save(state)                        # after each epoch

When the run has its result, `clear` removes them.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from skin_pipeline import arrays
from skin_pipeline.arrays import Arrays
from skin_pipeline.contracts import Epoch
from skin_pipeline.errors import BadInput
from skin_pipeline.storage import Store, scratch

log = logging.getLogger(__name__)

UNREADABLE = (ValueError, KeyError, TypeError, OSError, RecursionError)  # errors of a damaged file


@dataclass
class State:
    """How far a run has come: all that the next epoch depends on, and the result so far.

    The order of the examples is not in it: it is drawn from the seed and the epoch's number.

    Attributes:
        stage: Number of the stage that is trained.
        history: The epochs of all stages so far.
        best: The weights of the best epoch.
        variables: All variables of model and optimizer after the last epoch, so that Adam
            continues with its moments and its learning rate. Empty at the start of a stage.
    """

    stage: int = 0
    history: list[Epoch] = field(default_factory=list)
    best: Arrays = field(default_factory=list)
    variables: Arrays = field(default_factory=list)

    @property
    def best_epoch(self) -> Epoch | None:
        """The first epoch with the highest validation AUC, of whatever stage."""
        return max(self.history, key=lambda line: line.validation_auc, default=None)

    def epochs_of(self, stage: str) -> list[Epoch]:
        """Returns the history of one stage."""
        return [line for line in self.history if line.stage == stage]


class Checkpoints:
    """The newest state of a run in the store, until the run has a result.

    Args:
        store: The store of the states.
        key: Key of the run's result.
    """

    def __init__(self, store: Store, key: str) -> None:
        self._store, self._folder = store, f"{key}/checkpoints"

    def save(self, state: State) -> None:
        """Writes a state, and then removes the earlier ones.

        In this order a complete state is in the store, whenever the process is killed.
        """
        old = self._store.list(self._folder)
        with scratch() as folder:
            _write(folder / "state.npz", state)
            name = f"{self._folder}/{len(state.history):06}.npz"
            self._store.put_file(name, folder / "state.npz")
        for key in old:
            if key != name:
                self._store.remove(key)

    def latest(self) -> State | None:
        """Returns the newest state that can be read; None if there is none.

        A state that cannot be read is removed: some epochs are then trained again, while an error
        would stop every later try as well.
        """
        for key in reversed(self._store.list(self._folder)):
            try:
                with self._store.opened(key) as file:
                    return _read(file)
            # `BadInput`: signatures are required, and no step with the deployment's key wrote it.
            except (BadInput, *UNREADABLE) as error:
                log.warning('checkpoint_unreadable key=%s error="%s"', key, error)
                self._store.remove(key)
        return None

    def clear(self) -> None:
        """Removes all states, once the run has its result."""
        for key in self._store.list(self._folder):
            self._store.remove(key)


def _write(path: Path, state: State) -> None:
    lines = [line.model_dump(mode="json") for line in state.history]
    about = json.dumps({"stage": state.stage, "history": lines}).encode()
    # Numbers of five digits: sorted by name, the arrays are in their order again.
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
