"""What the default `head` costs against one without corrupted copies that reads the whole network.

Both go from images to a judged model in this process, one after the other, each on a store of its
own, so that neither finds what the other computed. The model files are then compared in size and in
how fast they score squares that are in memory.
"""

from __future__ import annotations

import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measuring import folder_of, parser, report
from workflow import Workflow

from skin_pipeline.model_file import loading

IMAGES, BATCH = 128, 32
BEFORE: dict[str, Any] = {"corrupted": 0, "head_stages": 3}


def cost(data: Path, weights: Path | None, **knobs: Any) -> dict[str, float]:
    """Returns the seconds until a model is judged, the size of its file, and how fast it scores."""
    with tempfile.TemporaryDirectory(prefix="skin-bench-") as scratch:
        work = Workflow.on(Path(scratch), data, weights, strategy="head", **knobs)
        seen = work.judge(work.train())
        path = work.job.store.local(seen.model)
        return {
            **{step: round(seconds, 1) for step, seconds in work.seconds.items()},
            "seconds": round(work.total, 1),
            "mib": round(path.stat().st_size / 2**20, 1),
            "images_per_second": round(scored_a_second(path, work.job.threads), 2),
            "auc": round(seen.ensemble.auc.value, 4),
        }


def scored_a_second(path: Path, threads: int) -> float:
    """Returns how many images of 224 pixels a model scores in a second, after a first batch."""
    model = loading.load(path, threads)
    squares = np.random.default_rng(0).integers(0, 255, (IMAGES, 224, 224, 3), dtype=np.uint8)
    model.predict(squares[:BATCH], batch_size=BATCH, verbose=0)
    start = time.perf_counter()
    model.predict(squares, batch_size=BATCH, verbose=0)
    return IMAGES / (time.perf_counter() - start)


def main() -> None:
    """Measures both and reports the ratio of their times."""
    arguments = parser(str(__doc__)).parse_args()
    logging.disable(logging.INFO)
    with folder_of(arguments.data) as (data, name):
        before = cost(data, arguments.weights, **BEFORE)
        now = cost(data, arguments.weights)
    ratio = round(now["seconds"] / before["seconds"], 3)
    report(
        [
            ("whole network, no copies", str(before)),
            ("default", str(now)),
            ("ratio of the seconds", str(ratio)),
        ],
        name="head_cost",
        value=ratio,
        unit="ratio",
        against="a head that reads the whole network and learns from no corrupted copies",
        data=name,
        before=before,
        now=now,
    )


if __name__ == "__main__":
    main()
