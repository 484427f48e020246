"""Thousands of damaged and hostile model files: what is accepted does nothing but be a model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import model_files as files
import pytest
from model_mutants import Mutants

from skin_pipeline.errors import BadInput
from skin_pipeline.model_file import loading

SUPPORT = Path(__file__).parents[1] / "support"
PACKAGE = SUPPORT.parents[1]


class Loader:
    """A process that loads files in folders of its own, which are compared after each."""

    def __init__(self, folder: Path, sound: bytes) -> None:
        self._folders = [folder / "home", folder / "temporary"]
        for place in self._folders:
            place.mkdir()
        path = folder / "sound.keras"
        path.write_bytes(sound)
        self._process = subprocess.Popen(
            [sys.executable, SUPPORT / "mutant_loader.py", path],
            cwd=self._folders[0],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": f"{PACKAGE}{os.pathsep}{SUPPORT}",
                "HOME": str(self._folders[0]),
                "TMPDIR": str(self._folders[1]),
                "TF_CPP_MIN_LOG_LEVEL": "3",
                "CUDA_VISIBLE_DEVICES": "-1",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._to, self._from = self._process.stdin, self._process.stdout
        self._answers()
        self._before = self._files()

    def _answers(self) -> str:
        for line in self._from:  # TensorFlow may say something of its own
            if line.startswith(("ready", '{"said"')):
                return line
        pytest.fail("the process that loads files ended")

    def _files(self) -> set[str]:
        return {str(path) for place in self._folders for path in place.rglob("*")}

    def ask(self, work: str, path: Path) -> tuple[str, list[str]]:
        """What became of a file, and what else happened."""
        self._to.write(f"{work} {path}\n")
        self._to.flush()
        answer = json.loads(self._answers())
        return answer["said"], answer["seen"] + sorted(self._files() - self._before)

    def close(self) -> None:
        self._to.close()
        self._process.wait()


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loader]:
    made = Loader(tmp_path_factory.mktemp("loader"), files.file_of())
    yield made
    made.close()


def became(mutants: Mutants, numbers: range, loader: Loader, folder: Path) -> Counter[str]:
    """How many of these mutants were refused at once, refused when their network was there, and
    loaded. Whatever else happens is a failure that names the mutant."""
    path = folder / "mutant.keras"
    counts: Counter[str] = Counter()
    for number in numbers:
        path.write_bytes(mutants.make(number))
        try:
            with files.tiny_backbone():
                loading.check(path)
        except BadInput:
            counts["refused by the check"] += 1
            continue
        said, seen = loader.ask("load", path)
        assert not seen, f"mutant {number}: {seen}"
        assert said.startswith(("loaded", "refused")), f"mutant {number}: {said}"
        counts[said.split(":")[0]] += 1
    return counts


def test_mutants_of_a_model_do_nothing_but_be_models(loader: Loader, tmp_path: Path) -> None:
    counts = became(Mutants(files.file_of()), range(300), loader, tmp_path)
    assert counts["refused by the check"] > 100
    assert counts["refused"] > 20
    assert counts["loaded"] > 5


PART = 1_000
PARTS = range(0, 10_000, PART)


# In two classes, which may run in two processes; and in parts, each well within a test's time.
@pytest.mark.exhaustive
class TestAllMutantsOfAHead:
    @pytest.mark.parametrize("start", PARTS[:6])
    def test_they_do_nothing_but_be_models(
        self, start: int, loader: Loader, tmp_path: Path
    ) -> None:
        sound = files.file_of(regions=1 if start else 2)  # one square is built in half the time
        counts = became(Mutants(sound), range(start, start + PART), loader, tmp_path)
        assert counts.total() == PART


@pytest.mark.exhaustive
class TestAllMutantsOfAHeadAndOfALastStage:
    @pytest.mark.parametrize("start", PARTS[6:])
    def test_those_of_a_head_do_nothing_but_be_models(
        self, start: int, loader: Loader, tmp_path: Path
    ) -> None:
        sound = files.file_of(regions=1)
        counts = became(Mutants(sound), range(start, start + PART), loader, tmp_path)
        assert counts.total() == PART

    def test_those_of_a_last_stage_do_nothing_but_be_models(
        self, loader: Loader, tmp_path: Path
    ) -> None:
        sound = files.file_of(strategy="fine_tune", regions=1)
        counts = became(Mutants(sound), range(PART), loader, tmp_path)
        assert counts.total() == PART


def test_the_process_that_loads_them_notices_code_that_runs(loader: Loader, tmp_path: Path) -> None:
    """A model with a Lambda, loaded as the pipeline never does."""

    def with_code(config: Any) -> None:
        code = files.payloads(tmp_path / "ran")["Lambda"]
        node = files.layer(config, "field_of_view")["inbound_nodes"][0]
        node["kwargs"]["training"] = {"shared_object_id": code}

    path = tmp_path / "model.keras"
    path.write_bytes(files.with_config(files.file_of(), with_code))
    _, seen = loader.ask("plain", path)
    assert any("marshal" in item or "code" in item for item in seen)
