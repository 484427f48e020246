"""What becomes of the items on which processes die."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import worker_tasks as tasks
from worker_runs import done

from skin_pipeline.data import bounds
from skin_pipeline.data.workers import BATCH, judging, pool
from skin_pipeline.errors import BadInput, Unavailable


def test_an_item_that_kills_its_process_is_known_and_all_others_are_done() -> None:
    numbers = range(3 * BATCH)
    assert done(tasks.double_or_die, numbers) == [
        (i, judging.FATAL) if i in {3, 17} else 2 * i for i in numbers
    ]


@pytest.mark.usefixtures("workers_may_write")
def test_an_item_that_kills_its_process_once_is_tried_again(tmp_path: Path) -> None:
    """The kernel may have ended it for memory that another one took."""
    assert done(tasks.die_once, [f"{tmp_path}/{name}" for name in "ab"], 1) == ["a", "b"]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.usefixtures("workers_may_write")
@pytest.mark.parametrize("work", [tasks.compute, tasks.loop], ids=["in C", "in Python"])
def test_an_item_that_takes_too_long_is_ended_and_told_and_costs_its_time_once(
    work: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bounds, "SECONDS", 0.3)
    quick, endless = f"{tmp_path}/quick", f"{tmp_path}/endless"
    why = "decoding it took longer than 0.3 s of the processor's time"
    assert done(work, [quick, endless, quick]) == [1, (endless, why), 1]
    assert Path(endless).read_text() == "begun"  # and not a second time


def test_a_disk_that_stands_still_is_not_blamed_on_the_item(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "WAITED", 0.3)
    with pytest.raises(Unavailable, match=r"reading 3600 took longer than 0\.3 s, most of"):
        done(tasks.wait, [3600])


@pytest.mark.usefixtures("workers_may_write")
def test_too_many_items_that_take_too_long_are_refused_with_their_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bounds, "SECONDS", 0.1)
    monkeypatch.setattr(judging, "MOST_SLOW", 2)
    items = [f"{tmp_path}/{name}-endless" for name in "abcd"]
    with pytest.raises(BadInput, match=r"3 files took too long .* look.* at: .*/a-endless, .*/b-"):
        done(tasks.compute, items, 1)


def test_too_many_items_that_kill_their_process_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(judging, "MOST_FATAL", 1)
    with pytest.raises(BadInput, match=r"2 files ended their process .* at: 3, 17"):
        done(tasks.double_or_die, range(20), 1)


def test_a_machine_that_cannot_start_processes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "begin", tasks.die)
    with pytest.raises(Unavailable, match="worker processes end as soon as they start"):
        done(tasks.double, range(5))


def test_processes_that_are_ended_before_they_see_an_item_are_told() -> None:
    with pytest.raises(Unavailable, match="worker processes end without any file's being to blame"):
        done(tasks.double, [tasks.Deadly()])


def test_an_item_on_which_a_process_is_told_to_end_is_known() -> None:
    """As one would be that makes a process answer what cannot be read."""
    expected = [(i, judging.FATAL) if i == 3 else i for i in range(BATCH)]
    assert done(tasks.end_at_three, range(BATCH)) == expected
