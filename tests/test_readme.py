"""What the README says is run, or compared with what it speaks of."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import released

from skin_pipeline import cli, steps
from skin_pipeline.contracts import LABELS, Dataset, load
from skin_pipeline.data import demo
from skin_pipeline.model_file import loading, trial
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import registry

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_settings_table_is_the_one_that_the_code_makes():
    table = README.split("<!-- settings -->\n")[1].split("\n<!-- end of settings -->")[0]
    assert table.strip() == cli.settings_table()


def test_the_five_lines_score_an_image_with_the_promoted_model(finished, tmp_path):
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


def test_a_version_signed_as_described_is_verified_by_hand_as_described(store, tmp_path):
    section = README.split("### Signed models\n")[1].split("\n## ")[0]
    make, check = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    subprocess.run(["sh", "-euc", make], cwd=tmp_path, check=True, capture_output=True)
    keys = SigningKeys(f"{tmp_path}/signing.pem", f"{tmp_path}/public.pem")
    keys.check()
    made = released.release(store)
    registry.sign(store, made.model, made.version, keys)
    for key in store.list(registry.version_key(made.model, made.version)):
        shutil.copy(store.local(key), tmp_path)
    python = f"{sys.executable} {check.removeprefix('python')}"
    said = subprocess.run(["sh", "-euc", python], cwd=tmp_path, check=True, capture_output=True)
    assert b"Verification succeeded" in said.stdout


def test_every_step_is_described():
    for step in steps.VERSIONS:
        assert f"**{step}**" in README


def test_the_pictures_are_there():
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README)
    assert pictures
    for picture in pictures:
        assert (ROOT / picture).is_file(), picture
        assert (ROOT / picture).stat().st_size < 300_000, picture


def test_every_make_target_named_exists():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_demo_is_as_large_as_the_readme_says():
    assert f"{2 * demo.PER_CLASS} drawn images" in README
