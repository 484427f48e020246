"""Our six runs against the original recipe's: time, and figures on the group-clean test set.

The original's training step is measured here and multiplied out to its 6 x 40 x 93 steps. Ours is
the wall time from the images to six trained runs, in this process, one strategy after the other on
stores of their own, so that neither finds what the other computed.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
from pathlib import Path

from measuring import PeakMemory, folder_of, parser, report
from workflow import Workflow, original_seconds, original_step_seconds

ORIGINAL_ACCURACY = 0.745  # mean of its six runs, each on a test set of its own


def main() -> None:
    """Measures both sides and reports the figure."""
    flags = parser(str(__doc__))
    flags.add_argument("--strategies", nargs="+", default=["head", "fine_tune"])
    arguments = flags.parse_args()
    logging.disable(logging.INFO)
    step = original_step_seconds(arguments.weights)
    original = original_seconds(step)
    rows = [
        ("original's step", f"{step:.2f} s, {8 / step:.2f} images/s"),
        ("original's six runs", f"{original / 3600:.1f} h"),
    ]
    results = []
    with folder_of(arguments.data) as (folder, name):
        for strategy in arguments.strategies:
            with tempfile.TemporaryDirectory(prefix="skin-bench-") as scratch:
                work = Workflow.on(Path(scratch), folder, arguments.weights, strategy=strategy)
                with PeakMemory() as peak:
                    trained = work.train()
                seconds = work.total
                seen = work.judge(trained)
            runs = list(seen.per_run.values())
            result = {
                "strategy": strategy,
                "value": round(original / seconds, 1),
                "seconds": round(seconds, 1),
                "steps": {key: round(value, 1) for key, value in work.seconds.items()},
                "mean_accuracy": round(statistics.mean(r.accuracy.value for r in runs), 4),
                "mean_auc": round(statistics.mean(r.auc.value for r in runs), 4),
                "ensemble_accuracy": str(seen.ensemble.accuracy),
                "ensemble_auc": str(seen.ensemble.auc),
                "ensemble_sensitivity": str(seen.ensemble.sensitivity),
                "ensemble_specificity": str(seen.ensemble.specificity),
                "peak_mib": round(peak.mib),
            }
            results.append(result)
            rows += [(f"{strategy}: {key}", str(value)) for key, value in result.items()][1:]
            print(result, flush=True)
    report(
        rows,
        name="six_runs",
        value=results[-1]["value"],
        unit="ratio",
        against="the original recipe's measured step, multiplied out",
        data=name,
        original={
            "step_seconds": round(step, 3),
            "seconds": round(original),
            "mean_accuracy": ORIGINAL_ACCURACY,
        },
        strategies=results,
    )


if __name__ == "__main__":
    main()
