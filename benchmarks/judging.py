"""Judging from cached features, against computing the features once.

`evaluate` scores six runs over all views, makes every figure with its interval, explains the
mistakes, and builds, saves and tries the model; importing TensorFlow is not counted. The gate's
time is that of the verdict with its report and its card.
"""

from __future__ import annotations

import logging
import tempfile
import time
from pathlib import Path

from measuring import folder_of, parser, report
from workflow import Workflow

from skin_pipeline import steps


def main() -> None:
    """Measures both sides and reports the figure."""
    flags = parser(str(__doc__))
    flags.add_argument("--strategy", default="head")
    arguments = flags.parse_args()
    logging.disable(logging.INFO)
    with folder_of(arguments.data) as (folder, name), tempfile.TemporaryDirectory() as scratch:
        work = Workflow.on(Path(scratch), folder, arguments.weights, strategy=arguments.strategy)
        seen = work.judge(work.train())
        start = time.perf_counter()
        steps.gate(work.job, work.evaluation, work.validation)
        gate = time.perf_counter() - start
    evaluate, features = work.seconds["evaluate"], work.seconds["features"]
    report(
        [
            ("test images", f"{seen.ensemble.images}, {seen.views} views, {len(seen.runs)} runs"),
            ("features, once", f"{features:.1f} s"),
            ("evaluate", f"{evaluate:.1f} s, {evaluate / features:.1%}"),
            ("gate", f"{gate:.1f} s"),
        ],
        name="judging",
        value=round(evaluate / features, 4),
        unit="ratio",
        against="computing the features of all images and views",
        strategy=arguments.strategy,
        seconds={key: round(value, 1) for key, value in {**work.seconds, "gate": gate}.items()},
        data=name,
    )


if __name__ == "__main__":
    main()
