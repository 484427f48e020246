"""Changes a module in many small ways, one at a time, and shows which changes no test notices.

```
python scripts/mutants.py skin_pipeline/intervals.py
python scripts/mutants.py skin_pipeline/evaluation/gate.py tests/evaluation/test_gate.py tests/…
```

By default it runs the tests that mirror the module's path. It is meant for modules that compute
something without TensorFlow, because their tests run again for every change. It works in a copy of
the checkout. Not every change that no test notices is a gap: some make no difference, such as
another text of a log line. The exit status is 0 if mutmut ran, whatever it found.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = (
    *("skin_pipeline", "tests", "scripts", "benchmarks"),
    *("README.md", "CONTRIBUTING.md", "docs", "Makefile", "requirements.in"),
)
SHOWN = 40  # changes that are shown with their code


def main(arguments: list[str]) -> int:
    """Tries changes of a module and shows those that no test notices. Returns the exit status."""
    if not arguments or not arguments[0]:
        sys.exit("make mutants MODULE=skin_pipeline/… [TESTS=tests/…]")
    if not arguments[0].startswith("skin_pipeline/"):
        sys.exit(f"{arguments[0]} is no module of skin_pipeline/")
    module, tests = arguments[0], arguments[1:] or [mirrored(arguments[0])]
    for path in (module, *tests):
        if not (ROOT / path).is_file():
            sys.exit(f"there is no {path}; name a module, and its tests if they are elsewhere")
    with tempfile.TemporaryDirectory(prefix="skin-mutants-") as folder:
        prepare(Path(folder), module, tests)
        run(folder)
        results = mutmut(folder, "results", "--all", "true", capture_output=True).stdout
        show(folder, results)
    return 0


def mirrored(module: str) -> str:
    """Returns the tests of a module: `skin_pipeline/a/b.py` is tested by `tests/a/test_b.py`."""
    path = Path(module).relative_to("skin_pipeline")
    return (Path("tests") / path.with_name(f"test_{path.name}")).as_posix()


def prepare(folder: Path, module: str, tests: list[str]) -> None:
    """Copies what tests need, and configures mutmut in the copy: what to change and what to run."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)
    settings: dict[str, list[str] | bool] = {
        "source_paths": ["skin_pipeline"],
        "only_mutate": [module],
        "also_copy": list(COPIED),
        # No plug-ins that spread or shuffle the tests; the first test that fails is enough.
        "pytest_add_cli_args": ["-x", "-q", "-p", "no:xdist", "-p", "no:randomly"],
        "pytest_add_cli_args_test_selection": tests,
        "use_git_change_detection": False,
    }
    lines = "".join(f"{name} = {_toml(value)}\n" for name, value in settings.items())
    written = (ROOT / "pyproject.toml").read_text() + f"\n[tool.mutmut]\n{lines}"
    (folder / "pyproject.toml").write_text(written)


def _toml(value: list[str] | bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "[" + ", ".join(f'"{item}"' for item in value) + "]"


def run(folder: str) -> None:
    """Tries every change.

    On a terminal mutmut shows its progress. Elsewhere only the end of its output is shown, if it
    failed.
    """
    quiet = not sys.stdout.isatty()
    children = str(os.cpu_count() or 1)
    done = mutmut(folder, "run", "--max-children", children, capture_output=quiet)
    if done.returncode:
        said = (done.stdout or "") + (done.stderr or "")
        sys.exit(f"{said.rsplit(chr(13), 1)[-1][-3000:]}\nmutmut could not try the changes")


def mutmut(
    folder: str, *arguments: str, capture_output: bool = False
) -> subprocess.CompletedProcess[str]:
    """Runs mutmut in a folder."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, cwd=folder, text=True, capture_output=capture_output)


def show(folder: str, results: str) -> None:
    """Prints how many changes the tests noticed, and the code of those that they did not."""
    found = re.findall(r"^\s*(\S+): (.+)$", results, re.MULTILINE)
    counts = {
        status: sum(s == status for _, s in found) for status in sorted({s for _, s in found})
    }
    unseen = [name for name, status in found if status == "survived"]
    for name in unseen[:SHOWN]:
        print(mutmut(folder, "show", name, capture_output=True).stdout)
    print(", ".join(f"{count} {status}" for status, count in counts.items()) or "no changes made")
    if untested := sorted({name.partition("__mutmut_")[0] for name, s in found if s == "no tests"}):
        print(f"no test of this module calls {', '.join(untested)}")
    if len(unseen) > SHOWN:
        print(f"{len(unseen) - SHOWN} more that no test saw: {', '.join(unseen[SHOWN:])}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
