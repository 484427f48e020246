"""Each run has a seed of its own."""

from __future__ import annotations

from skin_pipeline.seeds import run_seed


def test_each_run_has_a_seed_of_its_own() -> None:
    seeds = {run_seed(seed, run) for seed in range(5) for run in range(20)}
    assert len(seeds) == 100
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_a_seed_stays_what_it_is() -> None:
    """Another one would train every run of every store anew."""
    assert [run_seed(0, run) for run in range(2)] == [1484405855, 1982462498]
