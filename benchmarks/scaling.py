"""How the time and memory of each step of the workflow grow with the number of images.

It is growth that is measured, so all else is small: images of 96x72 pixels, the smallest network
(MobileNetV3Small with random weights, on squares of 64 pixels), two runs, and one view to train on.
Images are drawn here, each unlike the others but for one in a hundred, which is a turned, smaller
copy of the one before it. Patients have one to five of them. Each step of the workflow is measured
in a process of its own, so that its memory (children included) is its own.

An exponent is the slope of a line through all sizes on logarithmic axes: 1 if twice the images take
twice the time. What a process takes to start, which is most of small sizes, makes it smaller; so
the slope between the two largest sizes (`last`) is shown beside it. `core` is the time that
processors worked, which other work on the machine disturbs less. None should be above 1.05.
"""

from __future__ import annotations

import csv
import logging
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from drawing import draw_lesions
from measuring import Apart, apart, parser, report

from skin_pipeline import sharding, steps
from skin_pipeline.config import Deployment, Settings
from skin_pipeline.job import Job
from skin_pipeline.storage import open_store

SIZES = (1, 4, 16, 64)  # thousands of images
MOST = 1.05  # of an exponent
BATCH = 500  # images that a process draws at once
SETTINGS: dict[str, Any] = {
    **{"backbone": "MobileNetV3Small", "engine": "tensorflow"},
    **{"image_size": 64, "runs": 2, "min_runs": 2, "views": 1, "corrupted": 0, "epochs": 5},
}
WEIGHTS = "random.weights.h5"
TITLES = {"core_seconds": "Time of all cores (s)", "mib": "Peak memory (MiB)"}
Known = dict[str, Any]  # what the steps before have returned, by their names


# --- one size -------------------------------------------------------------------------------------


def generate(folder: Path, count: int) -> None:
    """Writes a folder with the class folders, and a table of patients."""
    for label in ("benign", "malignant"):
        (folder / label).mkdir(parents=True)
    batches = [range(i, min(i + BATCH, count)) for i in range(0, count, BATCH)]
    with ProcessPoolExecutor() as processes:
        assert sum(processes.map(partial(draw_lesions, folder=folder), batches)) == count
    patients = np.repeat(np.arange(count), np.arange(count) % 5 + 1)[:count]
    with (folder / "images.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "patient_id", "age", "sex"])
        for number, patient in enumerate(patients):
            writer.writerow([f"image{number:06}", f"P{patient}", 30 + number % 50, "female"])


def random_weights(path: Path) -> None:
    """Writes weights of the network."""
    import keras

    keras.utils.set_random_seed(0)
    side, name = SETTINGS["image_size"], SETTINGS["backbone"]
    network = getattr(keras.applications, name)
    network(include_top=False, weights=None, input_shape=(side, side, 3)).save_weights(path)


def ingest(job: Job, _: Known) -> steps.Ingested:
    """Makes the data set."""
    return steps.ingest(job)


def validate(job: Job, known: Known) -> str:
    """Validates the data set, with the search for near-duplicates."""
    return steps.validate(job, known["ingest"].dataset)


def split(job: Job, known: Known) -> str:
    """Splits the images."""
    return steps.split(job, known["validate"])


def features(job: Job, known: Known) -> list[str]:
    """Computes the features of all shards."""
    dataset, weights, _ = known["ingest"]
    shards = sharding.numbers(job, dataset)
    return [steps.features(job, known["split"], weights, shard) for shard in shards]


def train(job: Job, known: Known) -> list[str]:
    """Trains all runs."""
    index = steps.index(job, known["features"])
    return [steps.train(job, known["split"], index, run) for run in range(job.settings.runs)]


def evaluate(job: Job, known: Known) -> str:
    """Judges the runs on the test set."""
    return steps.evaluate(job, known["split"], known["train"], known["validate"])


def gate(job: Job, known: Known) -> str:
    """Compares the figures with the bounds."""
    return steps.gate(job, known["evaluate"], known["validate"])


STEPS: dict[str, Callable[[Job, Known], Any]] = {
    step.__name__: step for step in (ingest, validate, split, features, train, evaluate, gate)
}


def perform(name: str, folder: Path, known: Known) -> Any:
    """Does a step; called in a process of its own."""
    store = f"file://{folder}/store"
    weights = str(folder / WEIGHTS)
    settings = Settings(data=str(folder / "images"), weights=weights, **SETTINGS)
    return STEPS[name](Job(settings, Deployment(store=store), open_store(store)), known)


def measured(count: int) -> dict[str, Apart]:
    """Measures all steps on so many images."""
    known: Known = {}
    taken = {}
    with tempfile.TemporaryDirectory(prefix="skin-bench-") as scratch:
        generate(Path(scratch, "images"), count)
        apart(random_weights, Path(scratch, WEIGHTS))
        for name in STEPS:
            taken[name] = apart(perform, name, Path(scratch), known)
            known[name] = taken[name].returned
            print(f"{count} images: {name} {taken[name].seconds:.1f} s", file=sys.stderr)
    return taken


# --- growth ---------------------------------------------------------------------------------------


class Growth(NamedTuple):
    """Exponents of time on the clock, of the processors' time, and of memory."""

    seconds: float
    core: float
    mib: float

    @classmethod
    def of(cls, counts: Sequence[int], taken: Sequence[Apart]) -> Growth:
        """Returns the exponents of a step, from what it took for each number of images."""
        columns = zip(*((one.seconds, one.core_seconds, one.mib) for one in taken), strict=True)
        return cls(*(exponent(counts, column) for column in columns))


def exponent(counts: Sequence[int], values: Iterable[float]) -> float:
    """Returns the slope of a line through values on logarithmic axes: 2 for what grows with the
    square of the count."""
    return float(np.polyfit(np.log(counts), np.log(list(values)), 1)[0])


def plot(path: Path, counts: Sequence[int], taken: dict[str, list[Apart]]) -> None:
    """Draws processors' time and memory of each step on logarithmic axes, beside a line of slope
    1."""
    from matplotlib.figure import Figure

    figure = Figure((9, 4), layout="constrained")
    for axes, unit in zip(figure.subplots(1, 2), ("core_seconds", "mib"), strict=True):
        for name, each in taken.items():
            axes.loglog(counts, [getattr(one, unit) for one in each], marker="o", label=name)
        low = min(getattr(each[0], unit) for each in taken.values())
        straight = [low * count / counts[0] for count in counts]
        axes.loglog(counts, straight, "--", color="grey", label="linear")
        axes.set(xlabel="images", title=TITLES[unit])
        axes.set_xticks(counts, [f"{count:,}" for count in counts], minor=False)
        axes.grid(alpha=0.2)
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), frameon=False, loc="outside right upper"
    )
    figure.savefig(path, dpi=150)


def table(counts: Sequence[int], taken: dict[str, list[Apart]]) -> list[tuple[str, str]]:
    """Returns a row for each step: what it took at each size, and the exponents."""
    shown = []
    for name, each in taken.items():
        all_, last = Growth.of(counts, each), Growth.of(counts[-2:], each[-2:])
        for unit, format_ in (("seconds", "9.1f"), ("core", "9.1f"), ("mib", "9.0f")):
            field = "core_seconds" if unit == "core" else unit
            values = "".join(f"{getattr(one, field):{format_}}" for one in each)
            slopes = f"{getattr(all_, unit):9.2f}{getattr(last, unit):9.2f}"
            shown.append((f"{name} {unit}", values + slopes))
    head = "".join(f"{count:9}" for count in counts) + " exponent     last"
    return [("images", head), *shown]


def main() -> None:
    """Measures all sizes, draws and prints how each step grows."""
    flags = parser(str(__doc__))
    flags.add_argument(
        "--thousands",
        type=lambda text: [float(part) for part in text.split(",")],
        default=list(SIZES),
        help="thousands of images, at least two sizes; default: 1,4,16,64",
    )
    flags.add_argument("--png", type=Path, default=Path("scaling.png"), help="where it is drawn")
    given = flags.parse_args()
    logging.disable(logging.WARNING)
    counts = [round(1000 * size) for size in sorted(given.thousands)]
    if len(set(counts)) < 2:
        flags.error("growth needs two sizes")
    sizes = [measured(count) for count in counts]
    taken = {name: [size[name] for size in sizes] for name in STEPS}
    plot(given.png, counts, taken)
    growth = {name: Growth.of(counts, each) for name, each in taken.items()}
    largest = max(growth, key=lambda name: growth[name].seconds)
    report(
        [*table(counts, taken), ("drawn as", str(given.png))],
        name="scaling",
        value=round(growth[largest].seconds, 3),
        unit="exponent",
        against=f"growth with the number of images; at most {MOST}",
        step=largest,
        images=counts,
        exponents={
            name: {unit: round(value, 3) for unit, value in each._asdict().items()}
            for name, each in growth.items()
        },
        seconds={name: [round(one.seconds, 2) for one in each] for name, each in taken.items()},
        peak_mib={name: [round(one.mib) for one in each] for name, each in taken.items()},
    )


if __name__ == "__main__":
    main()
