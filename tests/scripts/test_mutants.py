"""`make mutants`: changes that no test sees."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import mutants
import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: Any) -> Any:
    command = [sys.executable, "scripts/mutants.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("module", "tests"),
    [
        ("skin_pipeline/intervals.py", "tests/test_intervals.py"),
        ("skin_pipeline/evaluation/gate.py", "tests/evaluation/test_gate.py"),
        ("skin_pipeline/evaluation/plots/roc.py", "tests/evaluation/plots/test_roc.py"),
    ],
)
def test_the_tests_of_a_module_are_those_that_mirror_its_path(module: str, tests: str) -> None:
    assert mutants.mirrored(module) == tests
    assert (ROOT / tests).is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "make mutants MODULE="),
        (("skin_pipeline/nowhere.py",), "there is no skin_pipeline/nowhere.py"),
        (("skin_pipeline/data/__init__.py",), "there is no tests/data/test___init__.py"),
        (("tests/test_intervals.py",), "is no module of skin_pipeline"),
    ],
)
def test_what_cannot_be_changed_is_told(arguments: Any, message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.exhaustive
def test_changes_are_tried_one_at_a_time_and_those_that_no_test_saw_are_shown() -> None:
    before = (ROOT / "skin_pipeline/intervals.py").read_bytes()
    done = run("skin_pipeline/intervals.py")
    assert done.returncode == 0, done.stderr
    said = re.findall(r"^\d+ killed.*$", done.stdout, re.MULTILINE)[-1]
    counts = {status: int(count) for count, status in re.findall(r"(\d+) ([a-z ]+)", said)}
    assert counts["killed"] > 250
    assert counts["survived"] < 20
    assert "no tests" not in counts, done.stdout
    assert (ROOT / "skin_pipeline/intervals.py").read_bytes() == before


def test_a_function_that_no_test_calls_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    mutants.show(
        ".",
        "  a.b.x_f__mutmut_1: killed\n  a.b.x_g__mutmut_1: no tests\n  a.b.x_g__mutmut_2: no tests",
    )
    assert capsys.readouterr().out.splitlines() == [
        "1 killed, 2 no tests",
        "no test of this module calls a.b.x_g",
    ]
