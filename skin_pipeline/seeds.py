"""The seed of each training run, from the seed of the settings."""

from __future__ import annotations

import numpy as np


def run_seed(seed: int, run: int) -> int:
    """Returns the seed of one run, 0…2³¹-1: derived, so that runs differ and each can be repeated.

    Args:
        seed: The setting `seed`.
        run: Number of the run, from 0.
    """
    return int(np.random.SeedSequence([seed, run]).generate_state(1)[0] >> 1)
