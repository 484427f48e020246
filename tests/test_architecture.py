"""The project is built as docs/architecture.md says; and each of these rules can fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import architecture
import pytest

ROOT = Path(__file__).parents[1]
RULES = (
    architecture.doors,
    architecture.handing_on,
    architecture.sizes,
    architecture.mirrors,
    architecture.docstrings,
    architecture.descriptions,
)
ROOM = '''"""The room of colours.

It takes in words and gives colours, which every other room may ask it for. Nothing in here knows
what the colours are for, and nothing is imported before it is needed.

    mixing   how two colours become one
"""

from skin_pipeline.colours.mixing import mixed

__all__ = ["mixed", "mixing"]
'''
MIXING = '''"""How two colours become one."""


def mixed(one: str, other: str) -> str:
    """Returns the colour between two."""
    return one + other
'''


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A small checkout that keeps all rules."""
    write(tmp_path, "skin_pipeline/__init__.py", '"""A package."""\n')
    write(tmp_path, "skin_pipeline/colours/__init__.py", ROOM)
    write(tmp_path, "skin_pipeline/colours/mixing.py", MIXING)
    write(tmp_path, "tests/colours/test_mixing.py", "")
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.__name__))
class TestRules:
    def test_the_project_keeps_it(self, rule: Callable[[Path], list[str]]) -> None:
        violations = rule(ROOT)
        assert not violations, "\n".join(violations)

    def test_a_small_house_keeps_it(self, rule: Callable[[Path], list[str]], house: Path) -> None:
        assert not rule(house)


class TestDoors:
    @pytest.mark.parametrize("place", ["skin_pipeline/steps.py", "dags/a.py", "plugins/a.py"])
    @pytest.mark.parametrize(
        "line",
        [
            "from skin_pipeline.colours import mixed",
            "from skin_pipeline.colours import mixing",
            "from skin_pipeline import steps",
        ],
    )
    def test_names_that_a_room_hands_on_pass(self, house: Path, place: str, line: str) -> None:
        write(house, place, line)
        assert not architecture.doors(house)

    @pytest.mark.parametrize("place", ["skin_pipeline/steps.py", "scripts/a.py", "benchmarks/a.py"])
    @pytest.mark.parametrize(
        "line",
        [
            "from skin_pipeline.colours.mixing import mixed",
            "from skin_pipeline.colours import hidden",
            "from skin_pipeline.colours import *",
            "from skin_pipeline import colours",
            "import skin_pipeline.colours",
            "import skin_pipeline.colours.mixing",
        ],
    )
    def test_other_imports_are_found(self, house: Path, place: str, line: str) -> None:
        write(house, place, line)
        (found,) = architecture.doors(house)
        assert found.startswith(f"{place}:1: ")
        assert found.endswith("is not handed on by skin_pipeline.colours")

    @pytest.mark.parametrize(
        "text",
        [
            "def late():\n    from skin_pipeline.colours.mixing import mixed",
            "if TYPE_CHECKING:\n    from skin_pipeline.colours.mixing import mixed",
            "from . import steps\nfrom .colours.mixing import mixed",
        ],
        ids=["in a function", "for types only", "relative"],
    )
    def test_wherever_they_are(self, house: Path, text: str) -> None:
        write(house, "skin_pipeline/steps.py", text)
        (found,) = architecture.doors(house)
        assert found.startswith("skin_pipeline/steps.py:2: skin_pipeline.colours.mixing import")

    def test_a_room_is_at_home_in_itself(self, house: Path) -> None:
        inside = "from skin_pipeline.colours.mixing import mixed\nfrom .mixing import mixed"
        write(house, "skin_pipeline/colours/shades/dark.py", inside)
        assert not architecture.doors(house)

    @pytest.mark.parametrize(
        ("names", "problem"),
        [
            ('["mixed", "absent"]', "absent is not there"),
            ("[]", "lists nothing in __all__"),
        ],
    )
    def test_what_a_room_hands_on_is_there(self, house: Path, names: str, problem: str) -> None:
        text = ROOM.replace('["mixed", "mixing"]', names)
        write(house, "skin_pipeline/colours/__init__.py", text)
        assert architecture.handing_on(house) == [f"skin_pipeline/colours/__init__.py: {problem}"]


class TestSizes:
    def test_a_file_may_have_so_many_lines(self, house: Path) -> None:
        write(house, "skin_pipeline/long.py", "x = 1\n" * architecture.MOST_LINES)
        assert not architecture.sizes(house)
        write(house, "skin_pipeline/long.py", "x = 1\n" * (architecture.MOST_LINES + 1))
        assert architecture.sizes(house) == ["skin_pipeline/long.py: 401 lines, over 400"]

    @pytest.mark.parametrize("place", ["skin_pipeline/a.py", "dags/a.py", "scripts/a.py"])
    def test_a_function_may_have_so_many(self, house: Path, place: str) -> None:
        body = "    x = 1\n" * (architecture.MOST_FUNCTION_LINES - 1)
        write(house, place, f"@cached\ndef long():\n{body}")
        assert not architecture.sizes(house)
        write(house, place, f"class A:\n  async def long(self):\n{body}    x = 1\n")
        assert architecture.sizes(house) == [f"{place}:2: long has 51 lines, over 50"]


class TestMirrors:
    @pytest.mark.parametrize(
        ("module", "test"),
        [
            ("skin_pipeline/steps.py", "tests/test_steps.py"),
            ("skin_pipeline/colours/shades/dark.py", "tests/colours/shades/test_dark.py"),
            ("dags/daily.py", "tests/dags/test_daily.py"),
        ],
    )
    def test_a_module_has_a_test_file(self, house: Path, module: str, test: str) -> None:
        write(house, module, "")
        assert architecture.mirrors(house) == [f"{module}: there is no {test}"]
        write(house, test, "")
        assert not architecture.mirrors(house)


class TestDocstrings:
    @pytest.mark.parametrize(
        "text",
        [
            '"""A module."""\ndef f():\n    """Returns it."""\n',
            '"""A module."""\ndef _f():\n    """It, at once."""\n',
            '"""A module."""\nclass A:\n    """A thing."""\n    def f(self): ...\n',
            '"""A."""\nclass A:\n  """A."""\n  @property\n  def f(self):\n    """The f."""\n',
        ],
        ids=["a function", "a private one", "an overriding method", "a property"],
    )
    def test_they_are_right(self, house: Path, text: str) -> None:
        write(house, "scripts/a.py", text)
        assert not architecture.docstrings(house)

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("", ": has no docstring"),
            ('"""A."""\ndef f(): ...', ":2: f has no docstring"),
            ('"""A."""\nclass A: ...', ":2: A has no docstring"),
            ('"""A."""\ndef f():\n    """Return it."""', "'Return' is no verb"),
            ('"""A."""\ndef f():\n    """This is it."""', "'This' is no verb"),
            (
                '"""A."""\nclass A:\n  """A."""\n  def f(self):\n    """The f."""',
                "'The' is no verb",
            ),
        ],
    )
    def test_they_are_wrong(self, house: Path, text: str, problem: str) -> None:
        write(house, "scripts/a.py", text)
        (found,) = architecture.docstrings(house)
        assert found.startswith("scripts/a.py:")
        assert problem in found

    def test_a_room_is_described_at_length(self, house: Path) -> None:
        write(house, "skin_pipeline/colours/__init__.py", '"""Of mixing."""\n__all__ = []\n')
        write(house, "skin_pipeline/colours/shades/__init__.py", "")
        assert architecture.descriptions(house) == [
            "skin_pipeline/colours/__init__.py: 2 words, under 30",
            "skin_pipeline/colours/__init__.py: does not name shades",
        ]


class TestLayers:
    """import-linter's contract in pyproject.toml."""

    def test_the_project_keeps_it(self) -> None:
        checked = lint(ROOT)
        assert checked.returncode == 0, checked.stdout

    @pytest.fixture
    def layered(self, tmp_path: Path) -> Path:
        """A package with an empty module for each layer."""
        shutil.copy(ROOT / "pyproject.toml", tmp_path)
        write(tmp_path, "skin_pipeline/__init__.py", "")
        text = (ROOT / "pyproject.toml").read_text()
        (layers,) = re.findall(r"^layers = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
        for name in re.findall(r"\w+", layers):
            write(tmp_path, f"skin_pipeline/{name}.py", "")
        return tmp_path

    @pytest.mark.parametrize(
        "text",
        [
            "import skin_pipeline.training",
            "def late():\n    from skin_pipeline.training import features",
            "import typing\nif typing.TYPE_CHECKING:\n    import skin_pipeline.training",
        ],
        ids=["at the top", "in a function", "for types only"],
    )
    def test_an_import_passes_downward_and_fails_upward(self, layered: Path, text: str) -> None:
        write(layered, "skin_pipeline/evaluation.py", text)
        assert lint(layered).returncode == 0
        write(layered, "skin_pipeline/data.py", text)
        checked = lint(layered)
        assert checked.returncode == 1
        assert "skin_pipeline.data -> skin_pipeline.training" in checked.stdout

    def test_a_new_module_must_have_its_layer(self, layered: Path) -> None:
        write(layered, "skin_pipeline/new.py", "")
        assert "skin_pipeline.new" in lint(layered).stdout


def lint(checkout: Path) -> subprocess.CompletedProcess[str]:
    """Runs import-linter in a checkout, on the package that is there."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    return subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
