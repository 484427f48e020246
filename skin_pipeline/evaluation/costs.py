"""Adds up how long the steps took whose results led to a verdict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from skin_pipeline.contracts import COST, Cost, Evaluation, Split, TrainedRun, Validation, parse
from skin_pipeline.job import Work
from skin_pipeline.storage import Store


def seconds(
    work: Work, evaluation: str, validation: str, champion: str, external: tuple[str, ...]
) -> dict[str, float]:
    """Returns the wall time of each step, added up over its tasks.

    A result that was found from an earlier run counts with the time that it took then.

    Args:
        work: The making of the verdict.
        evaluation: Key of the evaluation.
        validation: Key of the validation of its data.
        champion: Key of the champion's scores; "" if there is no champion.
        external: Keys of the scores on sets of another origin.
    """
    spent: dict[str, float] = defaultdict(float)
    scored = filter(None, (champion, *external))
    for key in (*_results(work, evaluation, validation), *scored):
        step = key.split("/")[0]
        spent[step] += _seconds(work.store, key)
    return {step: round(value, 1) for step, value in spent.items()}


def _results(work: Work, evaluation: str, validation: str) -> Iterator[str]:
    """Yields the keys of the results that an evaluation and its validation were made from, in the
    order of the steps."""
    judged, checked = work.load(evaluation, Evaluation), work.load(validation, Validation)
    yield from (work.load(judged.split, Split).dataset, validation, judged.split)
    # All runs read the same features.
    yield from work.load(judged.runs[0], TrainedRun).features
    yield from (*judged.runs, evaluation)
    yield from sorted(checked.external.values())


def _seconds(store: Store, result: str) -> float:
    """Returns how long a result took; 0 where that was not recorded."""
    key = f"{result}/{COST}"
    return parse(store.read(key), Cost, key).seconds if store.exists(key) else 0.0
