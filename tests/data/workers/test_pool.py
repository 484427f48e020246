"""Worker processes: how they start, how they are confined, and how they end."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path

import attacks
import psutil
import pytest
from surroundings import SECRET, World, place
from worker_runs import run

from skin_pipeline.data.workers import spread

__all__ = ["place"]  # a fixture
PATIENCE = 300.0  # seconds until a test that waits gives up


def test_the_main_script_is_not_run_again() -> None:
    """Where it is Airflow's, it refuses to run in a task."""
    script = """
import sys
if __name__ != "__main__":
    sys.exit("run again")
from worker_tasks import double
from skin_pipeline.data.workers import spread
print(list(spread(double, [1, 2], 2)))
"""
    assert run(script) == "[2, 4]\n"


# It reads any image, so most files are readable to it; nothing that it reads can leave it but as
# a result.
READABLE = {
    "files_of_the_checkout",
    "files_of_the_system",
    "files_of_the_user",
    "lists_of_folders",
    "the_key_by_another_path",
    "the_signing_key",
}


@pytest.mark.skipif(sys.platform != "linux", reason="the layers are Linux's")
def test_a_worker_that_is_taken_over_reads_files_and_gets_nothing_else(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKIN_SIGNING_PASSWORD", SECRET)
    with ExitStack() as open_for:
        world = World(place, open_for)
        (got,) = spread(attacks.run, [world.facts()], 1)
        assert set(got) <= READABLE
        assert world.harm() == {}


def test_a_result_that_would_run_code_is_that_of_a_dead_process(tmp_path: Path) -> None:
    made = tmp_path / "made"
    with pytest.raises(BrokenProcessPool) as broken:
        list(spread(attacks.Bomb, [str(made)], 1))
    assert "a worker process answered with posix.mkdir" in str(broken.value.__cause__)
    assert not made.exists()


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    code = f"""
from worker_tasks import linger
from skin_pipeline.data.workers import spread
if __name__ == "__main__":
    list(spread(linger, [{str(tmp_path)!r}] * 2, 2))
"""
    script = tmp_path / "parent.py"
    script.write_text(code)
    root = Path(__file__).parents[3]
    work = tmp_path / "work"
    work.mkdir()
    script.write_text(code.replace(repr(str(tmp_path)), repr(str(work))))
    environment = {
        "PYTHONPATH": f"{root / 'tests/support/may_write'}:{root}:{root / 'tests/support'}"
    }
    parent = subprocess.Popen([sys.executable, str(script)], env=environment)
    while len(list(work.iterdir())) < 2:
        assert parent.poll() is None
        time.sleep(0.05)
    workers = [psutil.Process(int(path.name)) for path in work.iterdir()]
    parent.kill()
    parent.wait()
    gone, alive = psutil.wait_procs(workers, timeout=PATIENCE)
    assert (len(gone), alive) == (2, [])
