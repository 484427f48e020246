"""Each request of a promotion meets each fault of a network."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Container, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import faulty
import pytest
from interrupted import assert_harmless, prepared
from released import promote, release
from servers import S3Server

from skin_pipeline.errors import Unavailable
from skin_pipeline.storage import FolderStore, Store, open_store

FAULTS = [
    faulty.lose_request,
    faulty.lose_answer,
    faulty.fail,
    faulty.slow_down,
    faulty.stall,
    faulty.truncate,
    faulty.cut_head,
]
# A client that is impatient for its first answer may be so for its second; and what came in half is
# not asked for again.
ABSORBED = set(FAULTS) - {faulty.stall, faulty.truncate, faulty.cut_head}
AT_ONCE = 3
ALWAYS = range(1, sys.maxsize)


class Outcome(NamedTuple):
    """Whether a promotion succeeded, and how many of its requests a fault met."""

    done: bool
    struck: int


class Bench:
    """Tries the same promotion, in a model that has a champion, in ever new places in S3."""

    def __init__(self, server: S3Server, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.start = FolderStore(folder / "start")
        promote(self.start, release(self.start, b"old").version)
        self.promotion = prepared(self.start, b"new")

    def place(self) -> str:
        """The URL of a place that has all that the promotion starts from."""
        url = f"s3://{self.server.bucket}/{uuid.uuid4().hex}"
        store = self.opened(url)
        for key in self.start.list(""):
            store.put(key, self.start.read(key))
        return url

    def opened(self, url: str, endpoint: str = "") -> Store:
        """A place with new connections and an empty cache."""
        return open_store(
            url,
            endpoint=endpoint or self.server.endpoint,
            credentials=self.server.credentials,
            cache=self.folder / uuid.uuid4().hex,
        )

    def hit(self, fault: faulty.Fault, numbers: Container[int]) -> Outcome:
        """Let a fault meet the requests with these numbers, and look what is left."""
        url = self.place()
        with faulty.faulty(self.server.endpoint) as front:
            front.strike(fault, numbers)
            done = self.succeeds(self.opened(url, front.endpoint))
        assert_harmless(self.opened(url), self.promotion)
        return Outcome(done, front.struck)

    def succeeds(self, store: Store) -> bool:
        try:
            self.promotion.run(store)
        except Unavailable:
            return False
        return True


@pytest.fixture(scope="module")
def bench(s3_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(s3_server, tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def count(bench: Any) -> int:
    """How many requests a promotion takes that nothing disturbs."""
    done, requests = bench.hit(faulty.pass_on, ALWAYS)
    assert done
    assert requests >= 10
    return int(requests)


def first_middle_and_last(count: int) -> Iterable[int]:
    return 1, count // 2, count


def every_one(count: int) -> Iterable[int]:
    return range(1, count + 1)


class Forgetful(set[Any]):
    """Knows no server again: one of these proxies may have the port that another one had."""

    def add(self, _: Any) -> None:
        pass


class ForgetfulOfAnswers(dict[Any, Any]):
    """Forgets what it was told of each server, for the same reason."""

    def __setitem__(self, *_: Any) -> None:
        pass


@pytest.fixture(params=FAULTS, ids=lambda fault: fault.__name__)
def fault(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> faulty.Fault:
    """A fault, and clients that soon give up."""
    monkeypatch.setattr("skin_pipeline.storage.s3.client.ATTEMPTS", 2)
    monkeypatch.setattr("skin_pipeline.storage.s3.checks._CONDITIONAL", Forgetful())
    monkeypatch.setattr("skin_pipeline.storage.s3.checks._COPYING", ForgetfulOfAnswers())
    pause = "botocore.retries.standard.ExponentialBackoff.delay_amount"
    monkeypatch.setattr(pause, lambda *_: 0)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # of local copies, which nobody keeps
    if request.param is faulty.stall:
        monkeypatch.setattr(
            "skin_pipeline.storage.s3.client.READ_SECONDS", 3
        )  # others are answered in time
    chosen: faulty.Fault = request.param
    return chosen


@pytest.mark.parametrize(
    "of",
    [first_middle_and_last, pytest.param(every_one, marks=pytest.mark.exhaustive)],
    ids=lambda of: of.__name__,
)
def test_a_fault_of_any_request_of_a_promotion_harms_nothing(
    bench: Any, count: int, fault: Any, of: Any
) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda number: bench.hit(fault, {number}), of(count)))
    assert all(outcome.struck for outcome in found)
    assert all(outcome.done for outcome in found) or fault not in ABSORBED


@pytest.mark.parametrize(
    "of",
    [
        lambda count: (1, count),
        pytest.param(lambda count: (1, count // 2, count - 1, count), marks=pytest.mark.exhaustive),
    ],
    ids=["first_and_last", "with_those_between"],
)
def test_a_fault_that_stays_is_unavailable_and_harms_nothing(
    bench: Any, count: int, fault: Any, of: Any
) -> None:
    for first in of(count):
        done, struck = bench.hit(fault, range(first, sys.maxsize))
        assert struck
        assert not done, first
