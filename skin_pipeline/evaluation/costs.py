"""Adds up what the steps took whose results led to a verdict: in all, and in its own run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from skin_pipeline.contracts import (
    COST,
    Cost,
    Evaluation,
    Scored,
    Split,
    StepCost,
    TrainedRun,
    Validation,
    features_of,
    parse,
)
from skin_pipeline.job import COMMAND_LINE, Job, Work
from skin_pipeline.storage import Store

RANGES, FEATURES = ("listing/", "decode/"), "features/"
Taken = Mapping[str, list[Cost | None]]  # by step, for each result; None where it is not known


def taken(
    work: Work, evaluation: str, validation: str, champion: str, external: tuple[str, ...]
) -> Taken:
    """Returns what each result took that led to a verdict, in whichever run it was made.

    Args:
        work: The making of the verdict.
        evaluation: Key of the evaluation.
        validation: Key of the validation of its data.
        champion: Key of the champion's scores; "" if there is no champion.
        external: Keys of the scores on sets of another origin.
    """
    found: dict[str, list[Cost | None]] = {}
    results = [*_results(work, evaluation, validation)]
    for scored in filter(None, (champion, *external)):
        results += [*_parts(work, scored), scored]
    for key in dict.fromkeys(results):  # a champion may read the features that the runs read
        found.setdefault(key.split("/")[0], []).append(_cost(work.store, key))
    return found


def seconds(taken: Taken) -> dict[str, float]:
    """Returns the wall time of each step, added up over its tasks.

    A result that was found from an earlier run counts with the time that it took then.
    """
    return {
        step: round(sum(cost.seconds for cost in costs if cost), 1) for step, costs in taken.items()
    }


def of_run(job: Job, taken: Taken) -> dict[str, StepCost]:
    """Returns what each step took in this run alone: what was found counts nothing."""
    return {
        step: _added([cost for cost in costs if cost and _made_in(job, cost)], len(costs))
        for step, costs in taken.items()
    }


def _made_in(job: Job, cost: Cost) -> bool:
    if cost.run != job.run_id:
        return False
    # On the command line, all runs have the same name. Elsewhere a time would say less than the
    # name: it is of the clock of the machine that made the result.
    return job.run_id != COMMAND_LINE or cost.finished_at[:19] >= job.moment[:19]


def _added(made: Iterable[Cost], results: int) -> StepCost:
    made = list(made)
    return StepCost(
        results=results,
        found=results - len(made),
        seconds=round(sum(cost.seconds for cost in made), 1),
        core_seconds=round(sum(cost.core_seconds or 0 for cost in made), 1),
        bytes_read=sum(cost.bytes_read for cost in made),
        bytes_written=sum(cost.bytes_written for cost in made),
        peak_mib=max((cost.peak_mib for cost in made), default=0),
        cached=sum(cost.found for cost in made),
        computed=sum(cost.computed for cost in made),
    )


def _results(work: Work, evaluation: str, validation: str) -> Iterator[str]:
    """Yields the keys of the results that an evaluation and its validation were made from, in the
    order of the steps."""
    judged, checked = work.load(evaluation, Evaluation), work.load(validation, Validation)
    dataset = work.load(judged.split, Split).dataset
    yield from (*_ranges(work, dataset), dataset, validation, judged.split)
    # All runs read the same features.
    yield from features_of(work.store, work.load(judged.runs[0], TrainedRun))
    yield from (*judged.runs, *judged.logits, evaluation)
    yield from sorted(checked.external.values())


def _parts(work: Work, scored: str) -> Iterator[str]:
    """Yields the keys of the parts that scores were made from, and of the features of these."""
    for part in work.load(scored, Scored).logits:
        proof = work.job.proven.prove(part).proof
        yield from (key for key in (proof.made_from if proof else ()) if key.startswith(FEATURES))
        yield part


def _ranges(work: Work, dataset: str) -> list[str]:
    """Returns the keys of the listing and the ranges that a large data set was made from."""
    proof = work.job.proven.prove(dataset).proof
    return [key for key in (proof.made_from if proof else ()) if key.startswith(RANGES)]


def _cost(store: Store, result: str) -> Cost | None:
    """Returns what a result took; None where that was not recorded."""
    key = f"{result}/{COST}"
    return parse(store.read(key), Cost, key) if store.exists(key) else None
