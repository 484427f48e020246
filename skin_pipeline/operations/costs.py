"""What a workflow run is expected to take, before anything is trained.

    expected = costs.estimate(job, split)
    expected.core_hours                     # what a budget is compared with
    expected.in_words()                     # "expected: 12 core-minutes, 7 minutes on 2 cores; …"

A step is expected to take what earlier runs of this store took for as much work with the same
network. Where there are none, it is what was measured on one machine (`BUILT_IN`). Results that
exist already, and activations that are in the cache, take nothing.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from skin_pipeline import journal
from skin_pipeline.config import Settings
from skin_pipeline.contracts import (
    CHAMPION,
    COST,
    Cost,
    Dataset,
    Evaluation,
    Scored,
    Split,
    TrainedRun,
    Validation,
    Verdict,
    features_of,
    parse,
)
from skin_pipeline.errors import BadInput, PipelineError
from skin_pipeline.job import Job
from skin_pipeline.operations.figures import ANY, BUILT_IN, FORWARD, SIZES
from skin_pipeline.release import Model, Registry
from skin_pipeline.training import strategies

log = logging.getLogger(__name__)

MODELS, JUDGED = 5, 5  # how many models' latest judged runs are looked at, and how many of each
SHARDS = 20  # whose costs are read of one run: they are alike
PART_SECONDS = 120.0  # the default of SKIN_PART_SECONDS


class Load(NamedTuple):
    """The work of a step: its kind, in how many tasks, and how much; all counted together."""

    kind: str
    tasks: int
    units: int = 0
    computed: int = 0


@dataclass(frozen=True)
class Expected:
    """What one step is expected to take.

    Attributes:
        step: Its name.
        tasks: How many tasks have work to do; 0 where all results exist, or where the task of
            another step does the work.
        core_seconds: The CPU time of all of them.
        seconds: The wall time, with as many tasks at once as there are cores for.
        measured: Whether that is by earlier runs of this store, and not by `BUILT_IN`.
    """

    step: str
    tasks: int
    core_seconds: float
    seconds: float
    measured: bool


@dataclass(frozen=True)
class Estimate:
    """What the rest of a workflow run is expected to take, from its split on.

    Attributes:
        steps: In the order of the workflow.
        images: How many images the data set has.
        new: Of how many of them the activations must be computed.
        runs: The number of training runs.
        strategy: What they train.
        cores: The number of cores that `seconds` is for.
        known: The number of earlier judged runs that it is made from.
    """

    steps: tuple[Expected, ...]
    images: int
    new: int
    runs: int
    strategy: str
    cores: int
    known: int

    @property
    def core_seconds(self) -> float:
        """The CPU time of all steps."""
        return sum(step.core_seconds for step in self.steps)

    @property
    def core_hours(self) -> float:
        """The CPU time of all steps in hours, as `SKIN_BUDGET_CORE_HOURS` is."""
        return self.core_seconds / 3600

    @property
    def seconds(self) -> float:
        """The wall time of all steps."""
        return sum(step.seconds for step in self.steps)

    def in_words(self) -> str:
        """Returns it in one line for people."""
        cores = f"{self.cores} core{'s' if self.cores > 1 else ''}"
        return (
            f"expected: {duration(self.core_seconds, 'core-')}, {duration(self.seconds)} on "
            f"{cores}; {self.images:,} images ({self.new:,} new to this network), {self.runs} runs "
            f"of {self.strategy}; {self._basis()}"
        )

    def _basis(self) -> str:
        guessed = [step.step for step in self.steps if step.tasks and not step.measured]
        runs = f"measured on {self.known} earlier run{'s' if self.known > 1 else ''}"
        if not guessed:
            return runs if self.known else "nothing is left to do"
        if self.known:
            return f"{runs}, built-in figures for {', '.join(guessed)}"
        return "by built-in figures of another machine, as no earlier run used this network"


def announce(job: Job, split: str) -> None:
    """Logs what the rest of the run is expected to take. That it cannot be told ends no run."""
    try:
        expected = estimate(job, split)
    except PipelineError as error:
        log.warning('cost_unknown error="%s"', error)
        return
    log.info('cost_expected core_hours=%.2f words="%s"', expected.core_hours, expected.in_words())


def duration(seconds: float, unit: str = "") -> str:
    """Returns a time for people: `40 seconds`, `12 minutes`, `3.5 hours`; with `unit` before it."""
    if seconds < 90:
        return f"{seconds:.0f} {unit}seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} {unit}minutes"
    return f"{seconds / 3600:,.1f} {unit}hours"


def estimate(job: Job, split: str, *, cores: int = 0) -> Estimate:
    """Returns what the steps after `split` are expected to take.

    Args:
        job: The job.
        split: Key of the split.
        cores: The number of cores that the tasks share; 0 for those of this machine.

    Raises:
        BadInput, Unavailable: As the store raises them, for the results of this run.
    """
    settings, parts = job.settings, job.load(split, Split)
    dataset, past = job.load(parts.dataset, Dataset), tuple(_past(job))
    loads = _loads(job, split, parts, dataset, past)
    spent = _spent(job, past)
    cores = cores or os.cpu_count() or 1
    at_once = max(1, cores // job.threads)
    steps = tuple(
        _expected(step, load, spent.get(load.kind, ()), Network.of(settings), at_once)
        for step, load in loads.items()
    )
    new = loads["features"].computed // settings.learned_views
    return Estimate(steps, dataset.images, new, parts.runs, settings.strategy, cores, len(past))


def _expected(
    step: str, load: Load, spent: Sequence[Cost], network: Network, at_once: int
) -> Expected:
    """Returns what a step takes: the built-in figure, times how far earlier runs were from it."""
    core_seconds = network.built_in(load)
    predicted = sum(network.built_in(_load_of(cost, load)) for cost in spent)
    used = sum(cost.core_seconds or 0 for cost in spent)
    busy = 1.0  # cores that a task keeps busy
    if measured := bool(predicted and used):
        core_seconds *= used / predicted
        busy = used / max(sum(cost.seconds for cost in spent), 0.01)
    seconds = core_seconds / busy / max(1, min(load.tasks, at_once))
    return Expected(step, load.tasks, core_seconds, seconds, measured)


class Network(NamedTuple):
    """What is trained: the strategy, and the size of the network on its images, as a share of
    ResNet50's on 224 pixels."""

    strategy: str
    size: float

    @classmethod
    def of(cls, settings: Settings) -> Network:
        """Returns what the settings name."""
        size = SIZES.get(settings.backbone, 1.0) * (settings.image_size / 224) ** 2
        return cls(settings.strategy, size)

    def built_in(self, load: Load) -> float:
        """Returns the core-seconds of some work by the built-in figures."""
        figures = {**ANY, **BUILT_IN[self.strategy]}
        figure = figures[load.kind]
        # Neither a head nor figures pass through the network.
        shallow = self.strategy == "head" or load.kind in {"train", "evaluate"}
        deep = 1.0 if shallow else self.size
        passes = figure.each * deep * load.units + FORWARD * self.size * load.computed
        return figure.start * load.tasks + passes


def _load_of(cost: Cost, load: Load) -> Load:
    """Returns the work that an earlier result of the same kind was."""
    # A features task that found all it needs does not even start TensorFlow, logits that have no
    # task of their own are made where it runs already, and what unites scores has no use for it.
    starts = {"features": cost.computed, "logits": load.tasks, "external": cost.units}
    started = starts.get(load.kind, 1) > 0
    return Load(load.kind, int(started), cost.units, cost.computed)


# --- what there is to do --------------------------------------------------------------------------


class Past(NamedTuple):
    """An earlier judged run, whose network is that of this one."""

    key: str
    verdict: Verdict
    evaluation: Evaluation


def _loads(
    job: Job, split: str, parts: Split, dataset: Dataset, past: tuple[Past, ...]
) -> dict[str, Load]:
    """Returns the work of each step from `features` on."""
    settings, runs = job.settings, parts.runs
    new = _new_images(job, parts.dataset, dataset, past)
    tasks = min(len(dataset.shards), -(-new // settings.shard_size))
    trained = any(_same_runs(job, split, item) for item in past)
    loads = {
        "features": Load("features", tasks, 0, new * settings.learned_views),
        "train": training(settings, 0 if trained else runs, dataset.images),
        "logits": judging(settings, runs, dataset.images, job.deployment.part_seconds),
        "evaluate": Load("evaluate", 1, dataset.images),
    }
    model = Registry.of(job.store, job.deployment).model(settings.released_as)
    if CHAMPION in model.aliases():
        loads["champion"] = Load("champion", 1, dataset.images * runs * settings.scored_squares)
    if external := _external(job, past):
        loads["external"] = external
    return {**loads, "gate": Load("gate", 1), "promote": Load("promote", 1)}


def training(settings: Settings, runs: int, images: int) -> Load:
    """Returns the work of training so many runs on a data set of so many images."""
    kind = "train" if settings.strategy == "head" else settings.strategy
    epochs = settings.epochs if kind == "train" else settings.tune_epochs
    return Load(kind, runs, runs * images * epochs)


def judging(
    settings: Settings, runs: int, images: int, worth: float = PART_SECONDS, kind: str = "logits"
) -> Load:
    """Returns the work of scoring images by so many runs, to judge them.

    It has no task of its own if it is done in a short time: `evaluate` or `external` does it then.

    Args:
        settings: What is scored, and in how many views.
        runs: The number of runs.
        images: The number of images.
        worth: The core-seconds that are worth a task: `SKIN_PART_SECONDS`.
        kind: `logits`; or `external` for images whose activations must be computed, too.
    """
    views = images * settings.scored_squares
    work = Load(kind, 0, runs * views, views if kind == "external" else 0)
    tasks = int(Network.of(settings).built_in(work) // worth)
    return work._replace(tasks=tasks if tasks > 1 else 0)


def _new_images(job: Job, key: str, dataset: Dataset, past: tuple[Past, ...]) -> int:
    """Returns how many images have no activations in the cache, by the data of earlier runs."""
    cached = {
        item.evaluation.dataset
        for item in past
        if all(item.verdict.settings.get(name) == value for name, value in _read(job).items())
    }
    if not cached or key in cached:
        return 0 if cached else dataset.images - dataset.unreadable
    new = _digests(job, dataset)
    for other in cached:
        new -= _digests(job, job.load(other, Dataset))
    return len(new)


def _read(job: Job) -> dict[str, object]:
    """Returns the settings by which activations are found in the cache."""
    return job.settings.subset(
        "weights", "views", "corrupted", "corruptions", "strategy", "field_of_view", "regions"
    )


def _digests(job: Job, dataset: Dataset) -> set[str]:
    from skin_pipeline.data import manifest  # imports pandas

    return set(manifest.read_readable(job.store, dataset.table, ["sha256"])["sha256"])


def _same_runs(job: Job, split: str, item: Past) -> bool:
    """Returns whether an earlier run has trained what this one would train."""
    knobs = {**_read(job), **job.settings.subset(*strategies.KNOBS[job.settings.strategy])}
    known = item.verdict.settings
    return item.evaluation.split == split and all(known.get(k) == v for k, v in knobs.items())


def _external(job: Job, past: tuple[Past, ...]) -> Load | None:
    """Returns the work on sets of another origin; None if there are none."""
    made = journal.of_run(job.store, job.run_id)
    if made is None or not made.validation:
        return None
    sets = job.load(made.validation, Validation).external.values()
    known = set(chain.from_iterable(_scored(job, item) for item in past))
    works = {key: _scoring(job, job.load(key, Dataset)) for key in sets}
    new = sum(work.computed for key, work in works.items() if key not in known)
    tasks = sum(work.tasks for work in works.values())
    units = sum(work.units for work in works.values())
    return Load("external", tasks, units, new) if works else None


def _scoring(job: Job, dataset: Dataset) -> Load:
    worth = job.deployment.part_seconds
    work = judging(job.settings, job.settings.runs, dataset.images, worth, "external")
    return work._replace(tasks=min(max(work.tasks, 1), max(len(dataset.shards), 1)))


def _scored(job: Job, item: Past) -> Iterable[str]:
    """Returns the sets of another origin that an earlier run has scored."""
    return job.load(item.verdict.validation, Validation).external.values()


# --- what earlier runs took -----------------------------------------------------------------------


def _past(job: Job) -> Iterator[Past]:
    """Yields the latest judged runs with this network, of this model and then of others."""
    registry, own = Registry.of(job.store, job.deployment), job.settings.released_as
    names = [own, *(name for name in registry.models() if name != own)]
    for name in names[:MODELS]:
        try:
            yield from _past_of(job, registry.model(name))
        except BadInput as error:  # something was removed, damaged, or is of another version
            log.warning("cost_unreadable model=%s error=%s", name, error)


def _past_of(job: Job, model: Model) -> Iterator[Past]:
    for judged in model.judgements(last=JUDGED):
        key = judged.report.rpartition("/")[0]
        verdict = job.load(key, Verdict)
        if _alike(job, verdict):
            yield Past(key, verdict, job.load(verdict.evaluation, Evaluation))


def _alike(job: Job, verdict: Verdict) -> bool:
    network = job.settings.subset("backbone", "image_size", "strategy")
    return all(verdict.settings.get(name) == value for name, value in network.items())


def _spent(job: Job, past: Iterable[Past]) -> Mapping[str, list[Cost]]:
    """Returns what the results of earlier runs took, by the kind of work."""
    spent: dict[str, list[Cost]] = {}
    for key in dict.fromkeys(chain.from_iterable(_results(job, item) for item in past)):
        cost = _cost(job, f"{key}/{COST}")
        if cost and cost.core_seconds is not None:
            spent.setdefault(cost.work or key.split("/")[0], []).append(cost)
    return spent


def _cost(job: Job, key: str) -> Cost | None:
    try:
        return parse(job.store.read(key), Cost, key) if job.store.exists(key) else None
    except BadInput as error:  # of an earlier run, on which nothing else depends here
        log.warning("cost_unreadable cost=%s error=%s", key, error)
        return None


def _results(job: Job, item: Past) -> Iterator[str]:
    """Yields the keys of the results that a judged run was made from, and of its verdict."""
    features = features_of(job.store, job.load(item.evaluation.runs[0], TrainedRun))
    yield from (*features[:SHARDS], *item.evaluation.logits[:SHARDS])
    yield from (*item.evaluation.runs, item.verdict.evaluation)
    for key in item.verdict.external:
        yield from (*job.load(key, Scored).logits[:SHARDS], key)
    yield from (*filter(None, (item.verdict.champion,)), item.key)
