from __future__ import annotations

import itertools
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path

import attacks
import psutil
import pytest
import worker_tasks as tasks
from surroundings import SECRET, World, place

from skin_pipeline.data import workers
from skin_pipeline.data.workers import AHEAD, spread
from skin_pipeline.errors import Unavailable

__all__ = ["place"]  # a fixture
PATIENCE = 300.0  # seconds until a test that waits gives up


def test_results_come_in_the_order_of_the_pieces():
    assert list(spread(tasks.double, range(50), 2)) == [2 * i for i in range(50)]


def test_no_pieces_give_no_results():
    assert list(spread(tasks.double, [], 2)) == []


def test_pieces_are_taken_only_as_far_ahead_as_needed():
    taken = itertools.count()
    results = spread(tasks.double, taken, 2)
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
    results.close()
    assert next(taken) <= 5 + 2 * AHEAD


def test_a_piece_that_kills_its_process_is_known_and_all_others_are_done():
    results = list(spread(tasks.double_or_die, range(20), 2, tasks.dead))
    assert results == [-i if i in {3, 17} else 2 * i for i in range(20)]


def test_a_process_that_dies_while_pieces_are_handed_out_costs_only_its_piece(monkeypatch):
    """Then the pool takes no more work before anybody has asked for a result."""
    pools = []
    real = workers._pool
    monkeypatch.setattr(workers, "_pool", lambda n: pools.append(real(n)) or pools[-1])

    def pieces():
        yield from [0, 3]
        end = time.monotonic() + PATIENCE
        while not pools[0]._broken and time.monotonic() < end:
            time.sleep(0.01)
        yield from [1, 2]

    assert list(spread(tasks.double_or_die, pieces(), 2, tasks.dead)) == [0, -3, 2, 4]


def test_without_an_answer_for_crashes_a_crash_is_raised():
    with pytest.raises(BrokenProcessPool):
        list(spread(tasks.double_or_die, range(5), 2))


def test_an_error_of_the_work_is_raised():
    with pytest.raises(ValueError, match="0 is refused"):
        list(spread(tasks.refuse, range(5), 2))


def test_the_main_script_is_not_run_again(tmp_path):
    """Where it is Airflow's, it refuses to run in a task."""
    script = tmp_path / "main.py"
    script.write_text("""
import sys
if __name__ != "__main__":
    sys.exit("run again")
from worker_tasks import double
from skin_pipeline.data.workers import spread
print(list(spread(double, [1, 2], 2)))
""")
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, str(script)],
        env={"PYTHONPATH": f"{root}:{root / 'tests'}"},
        capture_output=True,
        text=True,
    )
    assert (run.stdout, run.returncode) == ("[2, 4]\n", 0)


def test_a_machine_that_cannot_start_processes_is_told(monkeypatch):
    monkeypatch.setattr(workers, "_end_with_parent", tasks.die)
    with pytest.raises(Unavailable, match="worker processes end as soon as they start"):
        list(spread(tasks.double, range(5), 2, tasks.dead))


# --- a process that a stranger's image has taken over --------------------------------------------

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
def test_a_worker_that_is_taken_over_reads_files_and_gets_nothing_else(place, monkeypatch):
    monkeypatch.setenv("SKIN_SIGNING_PASSWORD", SECRET)
    with ExitStack() as open_for:
        world = World(place, open_for)
        (got,) = spread(attacks.run, [world.facts()], 1)
        assert set(got) <= READABLE
        assert world.harm() == {}


def test_a_result_that_would_run_code_is_that_of_a_dead_process(tmp_path):
    made = tmp_path / "made"
    with pytest.raises(BrokenProcessPool) as broken:
        list(spread(attacks.Bomb, [str(made)], 1))
    assert "a worker process answered with posix.mkdir" in str(broken.value.__cause__)
    assert not made.exists()


def test_workers_end_when_their_parent_is_killed(tmp_path):
    code = f"""
from worker_tasks import linger
from skin_pipeline.data.workers import spread
if __name__ == "__main__":
    list(spread(linger, [{str(tmp_path)!r}] * 2, 2))
"""
    script = tmp_path / "parent.py"
    script.write_text(code)
    root = Path(__file__).parents[2]
    work = tmp_path / "work"
    work.mkdir()
    script.write_text(code.replace(repr(str(tmp_path)), repr(str(work))))
    environment = {"PYTHONPATH": f"{root / 'tests/may_write'}:{root}:{root / 'tests'}"}
    parent = subprocess.Popen([sys.executable, str(script)], env=environment)
    while len(list(work.iterdir())) < 2:
        assert parent.poll() is None
        time.sleep(0.05)
    workers = [psutil.Process(int(path.name)) for path in work.iterdir()]
    parent.kill()
    parent.wait()
    gone, alive = psutil.wait_procs(workers, timeout=PATIENCE)
    assert (len(gone), alive) == (2, [])
