"""Large packages are imported without what nobody uses of them, and all is as usual afterwards."""

from __future__ import annotations

import gc
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from skin_pipeline.imports import quick_import


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a package that uses another one if there is one."""
    (tmp_path / "large_one.py").write_text(
        "import gc\nsearched = gc.isenabled()\n"
        "try:\n    import optional_one\nexcept ImportError:\n    optional_one = None\n"
    )
    (tmp_path / "optional_one.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("large_one", "optional_one"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "large_one"


def test_an_optional_package_is_left_out_in_the_block_and_there_afterwards(package: str) -> None:
    with quick_import("large_one", without=["optional_one"]):
        assert importlib.import_module(package).optional_one is None
    assert importlib.import_module("optional_one").__name__ == "optional_one"


def test_an_optional_package_that_is_imported_already_stays(package: str) -> None:
    kept = importlib.import_module("optional_one")
    with quick_import("large_one", without=["optional_one"]):
        assert importlib.import_module(package).optional_one is kept
    assert sys.modules["optional_one"] is kept


@pytest.mark.parametrize("usual", [True, False])
def test_garbage_is_searched_afterwards_as_before_but_not_in_the_block(
    package: str, usual: bool
) -> None:
    gc.collect()  # what a search finds now cannot go while the block leaves its objects out
    before = gc.get_freeze_count()
    try:
        if not usual:
            gc.disable()
        with quick_import("large_one"):
            assert not importlib.import_module(package).searched
        assert gc.isenabled() is usual
    finally:
        gc.enable()
    assert gc.get_freeze_count() > before


def test_an_import_that_fails_leaves_all_as_it_was(package: str) -> None:
    with pytest.raises(ModuleNotFoundError), quick_import("large_one", without=["optional_one"]):
        importlib.import_module("no_such_package")
    assert gc.isenabled()
    assert importlib.import_module(package).optional_one


def test_a_package_that_is_there_already_leaves_all_as_it_is(package: str) -> None:
    importlib.import_module(package)
    before = gc.get_freeze_count()
    with quick_import("large_one", without=["absent_one"]):
        assert gc.isenabled()
        assert "absent_one" not in sys.modules
    assert gc.get_freeze_count() <= before  # less where something left out earlier is gone now


LOADED = """
import json, sys
from skin_pipeline.training.runtime import keras_on
keras_on(1)
print(json.dumps([name for name in ("sklearn", "matplotlib") if name in sys.modules]))
import matplotlib.pyplot, sklearn.linear_model
"""


def test_keras_starts_without_packages_that_only_its_unused_parts_need() -> None:
    said = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    )
    assert json.loads(said.stdout.splitlines()[-1]) == []
