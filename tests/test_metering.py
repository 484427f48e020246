"""What the making of a result takes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from skin_pipeline.metering import metered, note
from skin_pipeline.storage import Traffic

BUSY = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass"


def burn(seconds: float) -> None:
    exec(BUSY.format(seconds))


def test_waiting_takes_time_and_no_processor() -> None:
    with metered(Traffic()) as meter:
        time.sleep(1)
    assert 1 <= meter.seconds < 30
    assert meter.core_seconds < 0.5


def test_the_processors_of_this_process_and_of_those_below_count() -> None:
    with metered(Traffic()) as meter:
        burn(0.3)
        subprocess.run([sys.executable, "-c", BUSY.format(0.5)], check=True)
    assert 0.8 <= meter.core_seconds < 3


def test_a_process_that_goes_on_counts_for_what_it_used_so_far() -> None:
    script = f"input()\n{BUSY.format(0.5)}\nprint('done', flush=True)\ninput()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", script], **pipes) as process:  # type: ignore[call-overload]
        with metered(Traffic()) as later:
            pass
        with metered(Traffic()) as meter:
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "done\n"
        with metered(Traffic()) as ended:
            process.communicate("\n")
    assert later.core_seconds < 0.4
    assert 0.4 <= meter.core_seconds < 3  # the system counts in hundredths
    assert ended.core_seconds < 0.4  # it is not counted once more when it has ended


HELD = """
from skin_pipeline.metering import MIB, metered
from skin_pipeline.storage import Traffic
with metered(Traffic()) as before:
    pass
with metered(Traffic()) as meter:
    held = bytearray(64 * MIB + round(before.peak_mib) * MIB)
    del held
print(before.peak_mib, meter.peak_mib)
"""


def test_memory_is_the_most_that_was_held() -> None:
    # In a new process, since this one may have held gigabytes. Linux counts for a process what its
    # parent had held when it was started, so a shell stands between.
    small = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", HELD]
    said = subprocess.run(small, capture_output=True, check=True)
    before, peak = map(float, said.stdout.split())
    assert 5 < before < 500
    assert before + 32 < peak < 2 * before + 300


def test_bytes_are_those_of_the_block() -> None:
    traffic = Traffic()
    traffic.add(read=5, written=7)
    with metered(traffic) as meter:
        traffic.add(read=11)
        traffic.add(written=13)
    traffic.add(read=17, written=19)
    assert (meter.bytes_read, meter.bytes_written) == (11, 13)


def test_what_was_worked_on_is_noted_in_the_innermost_block() -> None:
    note(work="nobody measures this")
    with metered(Traffic()) as outer:
        with metered(Traffic()) as inner:
            note(work="features", units=12, found=3, computed=9)
        note(work="external", units=5)
    assert (inner.work, inner.units, inner.found, inner.computed) == ("features", 12, 3, 9)
    assert (outer.work, outer.units) == ("external", 5)
    assert (outer.found, outer.computed) == (3, 9)  # the work within it is also its own


def test_a_block_that_fails_does_not_stay_the_innermost() -> None:
    with metered(Traffic()) as outer:
        with pytest.raises(KeyError), metered(Traffic()):
            raise KeyError
        note(units=3)
    assert outer.units == 3


def test_traffic_of_many_threads_is_added_up() -> None:
    traffic = Traffic()

    def add() -> None:
        for _ in range(2000):
            traffic.add(read=1, written=2)

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (traffic.read, traffic.written) == (16_000, 32_000)


def test_what_counts_by_itself_is_no_part_of_the_block_around_it() -> None:
    traffic = Traffic()
    with metered(traffic) as outer:
        burn(0.2)
        with metered(traffic) as counted:
            burn(0.3)
        with metered(traffic, apart=True) as apart:
            traffic.read += 1000
            burn(1.5)
            with metered(traffic) as deeper:
                traffic.read += 10
        traffic.read += 1
    assert counted.core_seconds > 0.25
    assert 1.45 <= apart.core_seconds < 1.9
    assert (deeper.bytes_read, apart.bytes_read, outer.bytes_read) == (10, 1010, 1)
    assert 0.45 <= outer.core_seconds < 1.5


def test_what_counts_by_itself_two_blocks_below_is_no_part_of_either() -> None:
    traffic = Traffic()
    with metered(traffic) as outer, metered(traffic) as middle:
        with metered(traffic, apart=True):
            traffic.written += 100
        traffic.written += 1
    assert (middle.bytes_written, outer.bytes_written) == (1, 1)


def test_activations_count_once_where_they_are_made() -> None:
    with metered(Traffic()) as outer:
        with metered(Traffic(), apart=True):
            note(found=3, computed=5)
        with metered(Traffic()):
            note(found=10, computed=20)
    assert (outer.found, outer.computed) == (10, 20)
