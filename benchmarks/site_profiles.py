"""What a profile from a few labelled images of another clinic reaches on the other images there.

A model is trained and judged once, on `--data`, and scores the images of `--external`, without
those that both sets contain. Then `--draws` times, `--images` of these are drawn as a site would
label them, a profile is made from them, and judged on all the others. Figures are of the draws with
a profile; `refused` counts those with too few images of a class.

- `value`: the share of draws in which the sensitivity on the others is within the interval that the
  profile stated. `specificity_within` is the same for the specificity.
- `target_within`: the share in which the target is within the interval of the sensitivity on the
  others alone. It is lower, since that interval does not count the chance of which images were
  labelled.
- `target_reached`: the share in which the sensitivity on the others is not below the target: about
  half with `point`, and 95 % with `--by guaranteed`. With the latter it is often exactly 1, just
  above the end of the stated interval, as the others are so few.
- `…_before` is reached with the version's own threshold, `…_after` with the profile.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from measuring import folder_of, parser, report
from workflow import Workflow

from skin_pipeline import steps, tables
from skin_pipeline.config import Settings
from skin_pipeline.contracts import Interval, Scored, load
from skin_pipeline.data import manifest
from skin_pipeline.errors import BadInput
from skin_pipeline.intervals import Floats, proportion
from skin_pipeline.release import sites

OUTSIDE = "outside"


class Elsewhere(NamedTuple):
    """The images of another clinic, as the model sees them, and the model's own threshold."""

    images: sites.Labelled
    threshold: float


def part(images: sites.Labelled, rows: Any) -> sites.Labelled:
    """Returns some of the images."""
    return sites.Labelled(*(values[rows] for values in images))


def scored(work: Workflow) -> Elsewhere:
    """Trains, judges and scores once."""
    found = work.judge(work.train())
    (key,) = steps.external(work.job, work.evaluation, work.validation)
    store = work.job.store
    table = tables.read_scores(store, load(store, key, Scored).predictions)
    values = table["probability"].to_numpy(np.float64), manifest.labels(table)
    return Elsewhere(sites.Labelled(*values, table["group"].to_numpy(object)), found.threshold)


def reached(probabilities: Floats, images: sites.Labelled, threshold: float) -> tuple[int, ...]:
    """Returns hits and totals: malignant images that are found, benign ones that are excluded."""
    called, malignant = probabilities >= threshold, images.labels == 1
    found, excluded = called & malignant, ~called & ~malignant
    return int(found.sum()), int(malignant.sum()), int(excluded.sum()), int((~malignant).sum())


def within(value: float, interval: Interval) -> bool:
    """Returns whether a value is in an interval."""
    return interval.low <= value <= interval.high


def judged(there: Elsewhere, count: int, aim: sites.Aim, seed: int) -> dict[str, float]:
    """Makes a profile from a draw of images, and judges it on all others.

    Raises:
        BadInput: The draw has too few images of a class.
    """
    order = np.random.default_rng(seed).permutation(len(there.images.labels))
    drawn, rest = part(there.images, order[:count]), part(there.images, order[count:])
    made = sites.operating_point(drawn, aim, there.threshold, seed)
    at_site = made.recalibration.of(rest.probabilities)
    found, malignant, excluded, benign = reached(at_site, rest, made.threshold)
    before = reached(rest.probabilities, rest, there.threshold)
    sensitivity, specificity = found / malignant, excluded / benign
    return {
        "within": within(sensitivity, made.after.sensitivity),
        "specificity_within": within(specificity, made.after.specificity),
        "target_within": within(aim.sensitivity, proportion(found, malignant)),
        "target_reached": sensitivity >= aim.sensitivity,
        "sensitivity_before": before[0] / before[1],
        "sensitivity_after": sensitivity,
        "sensitivity_stated": made.after.sensitivity.value,
        "specificity_before": before[2] / before[3],
        "specificity_after": specificity,
        "specificity_stated": made.after.specificity.value,
        "width_of_sensitivity": (made.after.sensitivity.high - made.after.sensitivity.low) / 2,
        "brier_before": float(((rest.probabilities - rest.labels) ** 2).mean()),
        "brier_after": float(((at_site - rest.labels) ** 2).mean()),
    }


def all_draws(
    there: Elsewhere, count: int, aim: sites.Aim, draws: int
) -> tuple[dict[str, float], int]:
    """Returns the means of the figures of all draws, and how many were refused."""
    found = []
    for seed in range(draws):
        try:
            found.append(judged(there, count, aim, seed))
        except BadInput:
            continue
    means = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
    spread = float(np.std([one["sensitivity_after"] for one in found]))
    return {**means, "sensitivity_spread": spread}, draws - len(found)


def main() -> None:
    """Measures how often a profile keeps what it states."""
    flags = parser(str(__doc__))
    flags.add_argument("--external", type=Path, required=True, help="folder of the other set")
    flags.add_argument("--images", type=int, default=100, help="labelled images of a draw")
    flags.add_argument("--draws", type=int, default=100)
    flags.add_argument("--target", type=float, default=Settings().target_sensitivity)
    flags.add_argument("--by", default="point", help="point, lower_bound or guaranteed")
    flags.add_argument("--views", type=int, default=1)
    flags.add_argument("--store", type=Path, help="keep results here, and go on from them")
    given = flags.parse_args()
    logging.disable(logging.INFO)
    with folder_of(given.data) as (data, name), tempfile.TemporaryDirectory() as folder:
        knobs = {
            "strategy": "head",
            "views": given.views,
            "external": f"{OUTSIDE}={given.external}",
        }
        there = scored(Workflow.on(given.store or Path(folder), data, given.weights, **knobs))
    aim = sites.Aim(given.target, given.by)
    found, refused = all_draws(there, given.images, aim, given.draws)
    report(
        [(key.replace("_", " "), f"{value:.3f}") for key, value in found.items()],
        name="site_profiles",
        value=round(found.pop("within"), 4),
        unit="share of draws",
        against="the interval that the profile stated, of 95 %",
        data=name,
        images=given.images,
        draws=given.draws,
        refused=refused,
        target=given.target,
        by=given.by,
        **{key: round(value, 4) for key, value in found.items()},
    )


if __name__ == "__main__":
    main()
