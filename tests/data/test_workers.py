from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path

import attacks
import psutil
import pytest
import worker_tasks as tasks
from surroundings import SECRET, World, place

from skin_pipeline.data import bounds
from skin_pipeline.data.workers import BATCH, each, judging, pool, spread, spreading
from skin_pipeline.data.workers.spreading import AHEAD
from skin_pipeline.errors import BadInput, Unavailable

__all__ = ["place"]  # a fixture
PATIENCE = 300.0  # seconds until a test that waits gives up


def run(script):
    """What a script says that runs as a file of its own."""
    root = Path(__file__).parents[2]
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(script)
        file.flush()
        ended = subprocess.run(
            [sys.executable, file.name],
            env={
                "PYTHONPATH": f"{root / 'tests/support/may_write'}:{root}:{root / 'tests/support'}"
            },
            capture_output=True,
            text=True,
            check=True,
        )
    return ended.stdout


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


def dead(number, why):
    return number, why


def done(work, items, processes=2):
    """What comes of each item; of one that its process died on, its number and why."""
    return list(each(work, items, processes, dead, str))


def test_each_gives_the_results_of_many_batches_in_order():
    numbers = range(5 * BATCH + 3)
    assert done(tasks.double, numbers) == [2 * number for number in numbers]


def test_items_are_taken_only_as_far_ahead_as_needed():
    taken = itertools.count()
    results = each(tasks.double, taken, 2, dead, str)
    assert next(results) == 0
    results.close()
    assert next(taken) <= 2 * AHEAD * BATCH + BATCH


def test_an_item_that_kills_its_process_is_known_and_all_others_are_done():
    numbers = range(3 * BATCH)
    assert done(tasks.double_or_die, numbers) == [
        (i, judging.FATAL) if i in {3, 17} else 2 * i for i in numbers
    ]


@pytest.mark.usefixtures("workers_may_write")
def test_an_item_that_kills_its_process_once_is_tried_again(tmp_path):
    """The kernel may have ended it for memory that another one took."""
    assert done(tasks.die_once, [f"{tmp_path}/{name}" for name in "ab"], 1) == ["a", "b"]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_process_that_dies_while_items_are_handed_out_costs_only_its_item(monkeypatch):
    """Then the pool takes no more work before anybody has asked for a result."""
    pools = []
    real = spreading.Pool
    monkeypatch.setattr(spreading, "Pool", lambda n: pools.append(real(n)) or pools[-1])

    def items():
        yield from range(BATCH)
        end = time.monotonic() + PATIENCE
        while not pools[0]._executor._broken and time.monotonic() < end:
            time.sleep(0.01)
        yield from range(BATCH, 2 * BATCH)

    expected = [(i, judging.FATAL) if i in {3, 17} else 2 * i for i in range(2 * BATCH)]
    assert done(tasks.double_or_die, items()) == expected


# --- time and memory ------------------------------------------------------------------------------


@pytest.mark.usefixtures("workers_may_write")
@pytest.mark.parametrize("work", [tasks.compute, tasks.loop], ids=["in C", "in Python"])
def test_an_item_that_takes_too_long_is_ended_and_told_and_costs_its_time_once(
    work, monkeypatch, tmp_path
):
    monkeypatch.setattr(bounds, "SECONDS", 0.3)
    quick, endless = f"{tmp_path}/quick", f"{tmp_path}/endless"
    why = "decoding it took longer than 0.3 s of the processor's time"
    assert done(work, [quick, endless, quick]) == [1, (endless, why), 1]
    assert Path(endless).read_text() == "begun"  # and not a second time


def test_time_that_others_take_is_not_counted(monkeypatch):
    monkeypatch.setattr(bounds, "SECONDS", 0.3)
    assert done(tasks.wait, [0.5]) == [0.5]


def test_a_disk_that_stands_still_is_not_blamed_on_the_item(monkeypatch):
    monkeypatch.setattr(bounds, "WAITED", 0.3)
    with pytest.raises(Unavailable, match=r"reading 3600 took longer than 0\.3 s, most of"):
        done(tasks.wait, [0.01, 3600])


def test_the_bounds_hold_whatever_the_parent_makes_of_their_signals(monkeypatch, tmp_path):
    monkeypatch.setattr(bounds, "SECONDS", 0.3)
    script = f"""
import signal
for sign in (signal.SIGPROF, signal.SIGALRM):
    signal.signal(sign, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPROF, signal.SIGALRM])
from worker_tasks import compute, named
from skin_pipeline.data import bounds
from skin_pipeline.data.workers import each
bounds.SECONDS = 0.3
print(*each(compute, [{str(tmp_path / "endless")!r}], 1, named, str))
"""
    assert "longer than 0.3 s" in run(script)


@pytest.mark.usefixtures("workers_may_write")
def test_too_many_items_that_take_too_long_are_refused_with_their_names(monkeypatch, tmp_path):
    monkeypatch.setattr(bounds, "SECONDS", 0.1)
    monkeypatch.setattr(judging, "MOST_SLOW", 2)
    items = [f"{tmp_path}/{name}-endless" for name in "abcd"]
    with pytest.raises(BadInput, match=r"3 files took too long .* look.* at: .*/a-endless, .*/b-"):
        done(tasks.compute, items, 1)


def test_too_many_items_that_kill_their_process_are_refused(monkeypatch):
    monkeypatch.setattr(judging, "MOST_FATAL", 1)
    with pytest.raises(BadInput, match=r"2 files ended their process .* at: 3, 17"):
        done(tasks.double_or_die, range(20), 1)


@pytest.mark.skipif(not bounds.PAGES.exists(), reason="only Linux bounds this memory")
def test_an_item_gets_no_more_memory_than_it_may_and_the_next_one_gets_it(monkeypatch):
    monkeypatch.setattr(bounds, "MEMORY", 64 << 20)
    assert done(tasks.fill, [32 << 20, 96 << 20, 32 << 20, 10 << 40]) == [True, False, True, False]


@pytest.mark.skipif(not bounds.PAGES.exists(), reason="only Linux bounds this memory")
def test_a_machine_without_memory_is_told_from_an_item_that_asks_for_too_much(monkeypatch):
    monkeypatch.setattr(bounds, "_pages", os.open(bounds.PAGES, os.O_RDONLY))
    assert not bounds.were_reached()  # nothing is bounded here
    with bounds.of_memory(1 << 20):
        assert bounds.were_reached()
        monkeypatch.setattr(bounds, "MEMORY", 1 << 60)  # which no machine has
        assert not bounds.were_reached()
        with pytest.raises(MemoryError):
            bytearray(64 << 20)
    bytearray(64 << 20)


# --- what goes wrong beside it --------------------------------------------------------------------


def test_a_crash_of_other_work_is_raised():
    with pytest.raises(BrokenProcessPool):
        list(spread(tasks.double_or_die, range(5), 2))


def test_an_error_of_the_work_is_raised():
    with pytest.raises(ValueError, match="0 is refused"):
        list(spread(tasks.refuse, range(5), 2))


def test_the_main_script_is_not_run_again():
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


def test_a_machine_that_cannot_start_processes_is_told(monkeypatch):
    monkeypatch.setattr(pool, "begin", tasks.die)
    with pytest.raises(Unavailable, match="worker processes end as soon as they start"):
        done(tasks.double, range(5))


def test_processes_that_are_ended_before_they_see_an_item_are_told():
    with pytest.raises(Unavailable, match="worker processes end without any file's being to blame"):
        done(tasks.double, [tasks.Deadly()])


def test_an_item_on_which_a_process_is_told_to_end_is_known():
    """As one would be that makes a process answer what cannot be read."""
    expected = [(i, judging.FATAL) if i == 3 else i for i in range(BATCH)]
    assert done(tasks.end_at_three, range(BATCH)) == expected


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
