"""What abstention gives outside: sensitivity and specificity of a probe on images it decides on.

The probe is that of the benchmark `external`: logistic regression on frozen features of the centre
of an image. Its threshold is the one that finds `--sensitivity` of the malignant images inside, by
cross-validated scores; what is familiar is learned from four folds inside and calibrated on the
fifth. Outside, it then leaves out the images nearest to that threshold, or the least familiar ones.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path

import numpy as np
from external import (
    OUTSIDE,
    Bench,
    Configuration,
    Images,
    crossed,
    folds_of,
    outside_parser,
    probed,
    sets_of,
)
from measuring import folder_of, report
from scipy.special import expit
from workflow import Workflow

from skin_pipeline.contracts import Abstention, Answered
from skin_pipeline.evaluation import answering, familiarity, metrics, threshold
from skin_pipeline.training import models, pretrained

SHOWN = (1.0, 0.95, 0.9, 0.8)  # shares with a decision
MADE = Configuration(regions=("centre",), stages=(1, 2))


def measured(
    bench: Bench, ours: Images, theirs: Images, sensitivity: float
) -> dict[tuple[str, float], Answered]:
    """Returns what the probe reaches outside, by the way of abstaining and the share answered."""
    inside, outside = (bench.read(images, MADE) for images in (ours, theirs))
    folds = folds_of(ours)
    scores = np.asarray(expit(crossed(inside, folds)))
    cut = threshold.threshold_at(sensitivity, scores, ours.labels)
    (learned, calibrated), *_ = folds
    pooled = inside.regions[0].astype(np.float32)
    known = familiarity.fitted(pooled[learned], ours.labels[learned], pooled[calibrated])
    seen = metrics.Predictions(np.asarray(expit(probed([inside.learned()], outside.regions))), cut)
    unusual = known.of(outside.regions[0].astype(np.float32))
    points = answering.curve(seen, theirs.labels, unusual, Abstention())
    return {(point.way, point.share): point for point in points if point.share in SHOWN}


def arguments_of() -> argparse.Namespace:
    """Returns the flags of this call."""
    flags = outside_parser(str(__doc__))
    flags.add_argument("--sensitivity", type=float, default=0.9, help="to aim at, inside")
    return flags.parse_args()


def main() -> None:
    """Measures both ways of abstaining."""
    given = arguments_of()
    logging.disable(logging.INFO)
    with folder_of(given.data) as (data, name), tempfile.TemporaryDirectory() as folder:
        known = {"external": f"{OUTSIDE}={given.external}"}
        job = Workflow.on(given.store or Path(folder), data, given.weights, **known).job
        dataset, weights, ours, theirs = sets_of(job, data, given.external)
        trunk = pretrained.trunk_of(job.settings.backbone, weights)
        bench = Bench(job, models.network_on(job, dataset, trunk), trunk)
        found = measured(bench, ours, theirs, given.sensitivity)
    rows = [
        (f"{way}, {share:.0%} answered", f"{point.sensitivity}, specificity {point.specificity}")
        for (way, share), point in found.items()
    ]
    report(
        rows,
        name="abstention",
        value=round(rise(found, "near"), 4),
        unit="external sensitivity at 10 % abstention near the threshold, above that without",
        against="a decision on every image",
        data=name,
        unusual=round(rise(found, "unusual"), 4),
        **{
            f"{way}_{round(100 * share)}_{figure}": round(getattr(point, figure).value, 4)
            for (way, share), point in found.items()
            for figure in ("sensitivity", "specificity")
        },
    )


def rise(found: dict[tuple[str, float], Answered], way: str) -> float:
    """Returns by how much the sensitivity rises if a tenth of the images gets no decision."""
    some, every = (found[way, share].sensitivity.value for share in (0.9, 1.0))
    return some - every


if __name__ == "__main__":
    main()
