"""A whole DAG run on two Celery workers with a core each, against one worker with two cores.

Both have the same slots in all, so the ratio is what it costs to spread a run: copies from S3, two
caches, and waiting for each other. Also says what share of a run each step takes that is one task:
no number of workers makes that shorter.

The cluster is that of `make test-cluster`: PostgreSQL, Redis, a local S3 server, and Airflow.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

from measuring import parser, report

sys.path.append(str(Path(__file__).parents[1] / "tests/support"))
sys.path.append(str(Path(__file__).parents[1] / "scripts"))
from cluster import WORKERS, Cluster, cluster

ROUNDS = 2
PATIENCE = 3600.0  # seconds for a run
CONCURRENCY = "AIRFLOW__CELERY__WORKER_CONCURRENCY"
ARRANGEMENTS = {"one worker": {"one": 2}, "two workers": {"one": 1, "two": 1}}
SMALL = {
    **{"SKIN_DATA": "demo", "SKIN_WEIGHTS": "none", "SKIN_IMAGE_SIZE": "64", "SKIN_VIEWS": "1"},
    **{"SKIN_SHARD_SIZE": "100"},
}
COMMON = {
    **{
        "SKIN_STRATEGY": "head",
        "SKIN_SCHEDULE": "",
        "SKIN_THREADS": "1",
        "SKIN_MIN_AUC_CHANGE": "",
    },
    **{"SKIN_MIN_ACCURACY": "0", "SKIN_MIN_SENSITIVITY": "0"},
}


def arrange(made: Cluster, slots: dict[str, int]) -> None:
    """Starts the workers anew, each with so many tasks at once; without a number it stays away."""
    for name in WORKERS:
        made.components[f"worker-{name}"].kill()
    for name, count in slots.items():
        component = made.components[f"worker-{name}"]
        component.environment[CONCURRENCY] = str(count)
        component.start()


def run(made: Cluster, seed: int) -> tuple[float, dict[str, float]]:
    """Runs the DAG with a seed of its own; returns its seconds, and those of each one-task step."""
    number = made.trigger(seed=seed)
    tasks = made.succeed(number, PATIENCE)
    found = made.api.get(f"dags/skin_training/dagRuns/{number}")
    of_step: dict[str, list[float]] = defaultdict(list)
    for task in tasks:
        if task["state"] == "success":
            of_step[task["task_id"]].append(_between(task))
    return _between(found), {step: taken[0] for step, taken in of_step.items() if len(taken) == 1}


def _between(item: dict[str, Any]) -> float:
    start, end = (datetime.fromisoformat(item[name].replace("Z", "+00:00")) for name in ENDS)
    return (end - start).total_seconds()


ENDS = ("start_date", "end_date")


def main() -> None:
    """Measures both arrangements in turn and reports the ratio."""
    given = parser(str(__doc__)).parse_args()
    settings = dict(SMALL)
    if given.data:
        settings = {"SKIN_DATA": str(given.data.resolve()), "SKIN_PATHS": "/"}
        settings["SKIN_WEIGHTS"] = str(given.weights.resolve()) if given.weights else "none"
    seconds: dict[str, list[float]] = defaultdict(list)
    shares: dict[str, list[float]] = defaultdict(list)
    with cluster({**COMMON, **settings}) as made:
        for number in range(ROUNDS):
            for place, (name, slots) in enumerate(ARRANGEMENTS.items()):
                arrange(made, slots)
                taken, steps = run(made, seed=1 + 2 * number + place)
                seconds[name].append(taken)
                for step, part in steps.items():
                    shares[step].append(part / taken)
    one, two = (statistics.median(seconds[name]) for name in ARRANGEMENTS)
    serial = {step: statistics.median(found) for step, found in shares.items()}
    report(
        [
            *((name, f"{statistics.median(seconds[name]):.0f} s") for name in ARRANGEMENTS),
            ("two workers against one", f"{two / one:.2f} times, required at most 1.10"),
            *(
                (f"{step}, one task", f"{share:.0%} of a run")
                for step, share in sorted(serial.items(), key=lambda item: -item[1])[:6]
            ),
        ],
        name="two_workers",
        value=round(two / one, 3),
        unit="ratio",
        against="one worker with as many slots",
        data=str(given.data or "demo"),
        shares={step: round(share, 3) for step, share in serial.items()},
    )


if __name__ == "__main__":
    main()
