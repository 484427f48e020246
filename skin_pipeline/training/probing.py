"""Which engine computes the network of a run: measured once for each kind of machine.

    weights = with_engine(job, dataset, "imagenet")    # "openvino:bfloat16:imagenet"

A step of its own asks, and the others are told: so all workers use the same engine, and every key
of the run says which. `auto` takes the quickest of those that agree with TensorFlow in single
precision.
"""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skin_pipeline import arrays
from skin_pipeline.config import placement
from skin_pipeline.contracts import Dataset, EngineProbe, Trunk
from skin_pipeline.errors import BadInput
from skin_pipeline.geometry import region
from skin_pipeline.job import Job, Work
from skin_pipeline.progress import reported
from skin_pipeline.timing import LONGEST_HOURS
from skin_pipeline.training import engines, pretrained, runtime
from skin_pipeline.training.features import BATCH
from skin_pipeline.versions import VERSIONS

log = logging.getLogger(__name__)

BATCHES = 2  # of images that are timed
# The smallest share of a feature's variance among images that must be the same as in single
# precision, in the mean over all features.
AGREEMENT = 0.998
KINDS = ["pooled"]
WORTH = 2000  # squares of 224 pixels: for fewer, measuring takes longer than it can save


class Candidate(NamedTuple):
    """An engine, and a precision of it."""

    engine: str
    precision: str

    def __str__(self) -> str:
        return f"{self.engine}:{self.precision}"


class Measurement(NamedTuple):
    """What was measured of an engine: images in a second, and how far its features agree."""

    rate: float
    agreement: float


USUAL = Candidate(**engines.USUAL)
HALF = Candidate("tensorflow", "bfloat16")


def with_engine(job: Job, dataset: str, weights: str) -> str:
    """Returns pinned weights behind the engine that computes their network, where that is not
    TensorFlow in single precision.

    TensorFlow gets a data set that is too small to be worth the measuring, and one whose features
    are computed elsewhere than where this is asked: there, other engines may be quick.

    Args:
        job: The job.
        dataset: Key of the data set, whose images an engine is tried on.
        weights: What `pretrained.pin_weights` returned.

    Raises:
        BadInput: The engine that is asked for is not installed.
    """
    wanted = _wanted(job)
    if job.settings.engine == "auto" and (_elsewhere(job) or _passes(job, dataset) < WORTH):
        wanted = [HALF if job.settings.precision == HALF.precision else USUAL]
    chosen = wanted[0] if len(wanted) == 1 else _measured(job, dataset, weights, wanted)
    return weights if chosen == USUAL else f"{chosen}:{weights}"


def _elsewhere(job: Job) -> bool:
    """Returns whether the features are computed on other workers than this is asked on."""
    queues, executors = job.deployment.queues, job.deployment.executors
    asking, computing = (
        placement(step, queues, executors, LONGEST_HOURS) for step in ("engine", "features")
    )
    return asking != computing


def _passes(job: Job, dataset: str) -> float:
    """Returns how many squares of 224 pixels the features of a run take as long as."""
    shown = job.load(dataset, Dataset).images * job.settings.learned_views
    return float(shown * (job.settings.image_size / 224) ** 2)


def _wanted(job: Job) -> list[Candidate]:
    """Returns the engines that the settings allow, as far as they can be quick here.

    Raises:
        BadInput: OpenVINO is asked for and not installed.
    """
    engine, precision = job.settings.engine, job.settings.precision
    if engine == "openvino" and not engines.installed():
        raise BadInput(f"engine=openvino: OpenVINO is not installed here. {engines.WAY_OUT}")
    here = [USUAL, *(Candidate("openvino", name) for name in engines.precisions())]
    if runtime.has_gpu():  # on a processor, half precision hardly makes TensorFlow quicker
        here.append(HALF)
    asked = [
        one
        for one in here
        if engine in {"auto", one.engine} and precision in {"auto", one.precision}
    ]
    # Whoever asks for half precision gets it, though it may be slow here.
    return asked or [HALF._replace(engine="openvino" if engine == "openvino" else HALF.engine)]


def _measured(job: Job, dataset: str, weights: str, wanted: list[Candidate]) -> Candidate:
    """Returns the quickest engine that agrees, as it was measured on such a machine."""
    trunk = pretrained.trunk_of(job.settings.backbone, weights, job.settings.stages_read)
    about = {
        "trunk": trunk.recipe,
        "image_size": job.settings.image_size,
        "engines": [str(one) for one in wanted],
        "machine": [*_machine(), job.threads, engines.installed()],
    }

    def make(work: Work) -> EngineProbe:
        return _probe(work, dataset, trunk, wanted)

    found = job.load(job.once("engine", VERSIONS["engine"], about, make), EngineProbe)
    return Candidate(found.engine, found.precision)


def _machine() -> list[str]:
    return [platform.machine(), platform.processor(), *engines.precisions()]


def _probe(work: Work, dataset: str, trunk: Trunk, wanted: list[Candidate]) -> EngineProbe:
    """Tries engines on some images of the data set.

    Raises:
        BadInput: None that the settings allow gives the features of TensorFlow.
    """
    tried = _measurements(work, work.load(dataset, Dataset), trunk, wanted)
    agree = [one for one in wanted if one in tried and tried[one].agreement >= AGREEMENT]
    if not agree:
        shares = ", ".join(f"{tried[one].agreement:.4f} for {one}" for one in wanted)
        raise BadInput(
            "no engine that the settings allow gives the features of TensorFlow in single "
            f"precision here: the agreement is {shares}, and at least {AGREEMENT} is needed. Set "
            "engine=auto and precision=auto"
        )
    chosen = max(agree, key=lambda one: tried[one].rate)
    for one, (rate, agreement) in tried.items():
        log.info(
            "engine_tried engine=%s precision=%s images_per_second=%.1f agreement=%.5f chosen=%s",
            *(*one, rate, agreement, one == chosen),
        )
    return EngineProbe(
        engine=chosen.engine,
        precision=chosen.precision,
        rates={str(one): found.rate for one, found in tried.items()},
        agreement={str(one): found.agreement for one, found in tried.items()},
    )


def _measurements(
    work: Work, dataset: Dataset, trunk: Trunk, wanted: list[Candidate]
) -> dict[Candidate, Measurement]:
    """Returns what was measured of each engine, TensorFlow first: the others are compared with it.

    Where half precision agrees, the same engine is not tried in single precision, which is slower.
    """
    from skin_pipeline.training import graphs  # which is not needed to find what was measured

    squares, usual = _squares(work, dataset), None
    tried: dict[Candidate, Measurement] = {}
    halves_first = sorted(wanted, key=lambda one: one.precision != HALF.precision)
    every = dict.fromkeys([USUAL, *halves_first])
    for one in reported(every, "engines tried", len(every)):
        half = tried.get(one._replace(precision=HALF.precision))
        if half is None or half.agreement < AGREEMENT:
            made = trunk.model_copy(update=one._asdict())
            forward = graphs.runner_of(work, dataset, made, KINDS).forward()
            rate, found = _tried(forward, squares)
            usual = found if usual is None else usual
            tried[one] = Measurement(rate, agreeing(found, usual))
    return tried


def _squares(work: Work, dataset: Dataset) -> NDArray[np.uint8]:
    """Returns the centres of some images, repeated if there are few."""
    pixels = region(arrays.loaded(work.store, dataset.shards[0]))
    return np.asarray(pixels[np.arange((1 + BATCHES) * BATCH) % len(pixels)])


def _tried(forward: Callable[[Any], Any], squares: NDArray[np.uint8]) -> tuple[float, Any]:
    """Returns how many images are computed in a second, and the features (n, channels).

    The first batch is not timed: it is compiled then.
    """
    batches = np.split(squares, 1 + BATCHES)
    found, times = [], []
    for batch in batches:
        start = time.perf_counter()
        found.append(np.array(forward(batch)["pooled"], np.float64))
        times.append(time.perf_counter() - start)
    return BATCH / min(times[1:]), np.concatenate(found)


def agreeing(found: NDArray[np.float64], usual: NDArray[np.float64]) -> float:
    """Returns the share of the features' variance that is the same; 1 where all are equal.

    Args:
        found: Features (n, channels) of an engine.
        usual: Those of TensorFlow in single precision.
    """
    varying = usual.var(axis=0) > 0
    if not np.isfinite(found).all() or not varying.any():
        return float(np.array_equal(found, usual))
    errors = ((found - usual) ** 2).mean(axis=0)[varying]
    return float(1 - (errors / usual.var(axis=0)[varying]).mean())
