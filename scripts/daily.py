"""The days after a training, in the demo: new images are scored, labels come back, a look at both.

    operate(airflow, "skin-resnet50-synthetic", folder, say)

So that `make up` afterwards shows what an installation looks like that is in use: a scored batch, a
monitoring report, labels that came back, and who did what on the page "Audit".
"""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from local_airflow import LocalAirflow

from skin_pipeline.contracts import LABELS
from skin_pipeline.data import demo
from skin_pipeline.errors import Unavailable

SEED = 2026  # other lesions than those of the training
PER_CLASS = 30
LONGEST = 600.0  # seconds that one of these runs may take
POLL_SECONDS = 0.5

Say = Callable[[str], None]


def operate(airflow: LocalAirflow, model: str, folder: Path, say: Say) -> None:
    """Scores drawn lesions, brings labels of some of them back, and looks for drift.

    Args:
        airflow: The Airflow that has trained the model.
        model: The name under which it was released.
        folder: Where the drawn lesions go; what is there is replaced.
        say: Is told how each run ended.

    Raises:
        Unavailable: A run did not end well; its log says why.
    """
    images, labels = draw(folder)
    for dag, conf in runs(model, images, labels):
        say(f"Airflow runs {dag}")
        say(f"{dag} ended: {run(airflow, dag, conf)}")


def runs(model: str, images: Path, labels: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each DAG that is run, in order, with what its form would be given."""
    yield "skin_scoring", {"model": model, "source": str(images)}
    yield "skin_labels", {"model": model, "source": str(labels)}
    yield "skin_monitoring", {"model": model}
    yield "skin_watch", {}


def draw(folder: Path) -> tuple[Path, Path]:
    """Draws lesions of both classes, mixed. Returns their folder, and a CSV of labels of some."""
    shutil.rmtree(folder, ignore_errors=True)
    images, labels = folder / "new-images", folder / "labels.csv"
    demo.generate(folder / "drawn", SEED, PER_CLASS)
    images.mkdir(parents=True)
    rows: list[tuple[str, str]] = []
    for label in LABELS:
        for path in sorted((folder / "drawn" / label).glob("*.jpg")):
            name = f"VISIT_{len(rows):03d}.jpg"  # which does not give the label away
            shutil.move(path, images / name)
            rows.append((name, label))
    shutil.rmtree(folder / "drawn")
    known = [row for number, row in enumerate(rows) if number % 3]
    with labels.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "label"), *known])
    return images, labels


def run(airflow: LocalAirflow, dag: str, conf: dict[str, Any]) -> str:
    """Triggers a DAG and waits until the run has ended. Returns its state.

    Raises:
        Unavailable: It failed, or took too long.
    """
    airflow.wait_for_dag(dag)
    airflow.api.patch(f"dags/{dag}?update_mask=is_paused", {"is_paused": False})
    made = airflow.api.post(f"dags/{dag}/dagRuns", {"logical_date": None, "conf": conf})
    path = f"dags/{dag}/dagRuns/{made['dag_run_id']}"
    end = time.monotonic() + LONGEST
    while (state := airflow.api.get(path)["state"]) not in {"success", "failed"}:
        airflow.check()
        if time.monotonic() > end:
            raise Unavailable(f"{path} did not end within {LONGEST:.0f} s")
        time.sleep(POLL_SECONDS)
    if state == "failed":
        raise Unavailable(f"{path} failed; `make up` shows its log")
    return str(state)
