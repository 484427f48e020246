"""A run knows its own images among those that all runs share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tiny_network as tiny

from skin_pipeline.config import Settings
from skin_pipeline.training.stages import Run


def test_the_rows_of_a_run_are_those_on_its_own_side(tmp_path: Path) -> None:
    sides = {"run_0": ["train"] * 4 + ["test"] * 2, "run_1": ["test"] * 2 + ["train"] * 4}
    source = tiny.source(tmp_path, tiny.table(np.array([0, 1] * 3), **sides), views=1)
    network = tiny.network()
    for number, train, test in ((0, [0, 1, 2, 3], [4, 5]), (1, [2, 3, 4, 5], [0, 1])):
        run = Run(lambda: network, source, Settings(), number, seed=7)
        assert list(run.rows("train")) == train
        assert list(run.rows("test")) == test
