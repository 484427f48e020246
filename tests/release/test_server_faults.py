"""The S3 server is killed during a promotion, and started again on the same data."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import faulty
import pytest
from interrupted import assert_harmless, prepared
from released import promote, release
from servers import seaweedfs

from skin_pipeline.errors import Unavailable
from skin_pipeline.storage import open_store

MIB = 1 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """A server of its own, which others do not miss while it is dead."""
    with seaweedfs() as server:
        yield server


def half_way(server: Any, exchange: Any) -> None:
    """The server dies when half of the body is through."""
    body = exchange.asked()
    with closing(exchange.begin()) as connection:
        connection.send(body[: len(body) // 2])
        server.kill()
    exchange.reset()


def unanswered(server: Any, exchange: Any) -> None:
    """The server dies when it has done its work, before it can say so."""
    exchange.ask()
    server.kill()
    exchange.reset()


def answered(server: Any, exchange: Any) -> None:
    """The server dies when it has said that it has done its work."""
    answer = exchange.ask()
    server.kill()
    exchange.answer(answer)


@pytest.mark.parametrize("die", [half_way, unanswered, answered], ids=lambda die: die.__name__)
@pytest.mark.parametrize("written", ["model.keras", "champion.json"])
def test_a_server_killed_during_a_promotion_comes_back_with_all_that_it_had(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: Any, die: Any
) -> None:
    monkeypatch.setattr("skin_pipeline.storage.s3.client.ATTEMPTS", 2)
    url = f"s3://{server.bucket}/{uuid.uuid4().hex}"

    def opened(endpoint: Any = server.endpoint) -> Any:
        cache = tmp_path / uuid.uuid4().hex
        return open_store(url, endpoint=endpoint, credentials=server.credentials, cache=cache)

    def strike(exchange: Any) -> None:
        if exchange.command == "PUT" and exchange.path.endswith(f"/{written}"):
            die(server, exchange)
        else:
            faulty.pass_on(exchange)

    promote(opened(), release(opened(), b"old").version)
    tried = prepared(opened(), bytes(4 * MIB))
    with faulty.faulty(server.endpoint) as front:
        front.strike(strike, range(sys.maxsize))
        with pytest.raises(Unavailable):
            tried.run(opened(front.endpoint))
    assert not server.process.runs()
    with pytest.raises(Unavailable):
        tried.run(opened())
    server.restart()
    assert_harmless(opened(), tried)
