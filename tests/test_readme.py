"""What the README says is run, or compared with what it speaks of."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from skin_pipeline.contracts import LABELS, Dataset, load
from skin_pipeline.data import demo
from skin_pipeline.model_file import loading, trial
from skin_pipeline.versions import VERSIONS

if TYPE_CHECKING:
    from tests.conftest import Finished

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MOST_LINES = 200  # five minutes of reading


def test_it_is_short() -> None:
    assert len(README.splitlines()) < MOST_LINES


def test_the_five_lines_score_an_image_with_the_promoted_model(
    finished: Finished, tmp_path: Path
) -> None:
    store, version = finished.job.store, finished.version
    for name in ("model.keras", "manifest.json"):
        shutil.copy(store.local(f"{version}/{name}"), tmp_path / name)
    golden = load(store, finished.dataset, Dataset).golden
    shutil.copy(store.local(next(iter(golden.values()))), tmp_path / "lesion.jpg")
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(snippet.strip().splitlines()) == 5
    alone = "import sys; assert 'skin_pipeline' not in sys.modules"
    run = subprocess.run(
        [sys.executable, "-I", "-c", snippet + alone],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    said, label = run.stdout.split()
    model = loading.load(tmp_path / "model.keras", threads=1)
    (ours,) = trial.probabilities(model, [(tmp_path / "lesion.jpg").read_bytes()])
    assert float(said) == pytest.approx(ours, abs=1e-4)
    assert label in LABELS


def test_every_step_is_described() -> None:
    for step in VERSIONS:
        assert f"**{step}**" in README


def test_it_shows_the_run_the_report_and_the_page_models() -> None:
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README)
    assert {"docs/run.png", "docs/report.png", "docs/models.png"} <= set(pictures)
    for picture in pictures:
        assert (ROOT / picture).stat().st_size < 300_000, picture


def test_the_demo_is_as_large_as_it_says() -> None:
    assert f"{2 * demo.PER_CLASS} drawn images" in README
