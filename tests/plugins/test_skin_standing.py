"""What is shown of a version before an alias moves: its times, its signature, its figures."""

from __future__ import annotations

from pathlib import Path

import key_pairs
import pytest
import skin_standing
from models_server import REAL, fill
from released import moves, opened, promote, releases

from skin_pipeline.provenance import SigningKeys
from skin_pipeline.storage import FolderStore


def test_the_times_of_a_version_follow_from_the_moves(store: FolderStore) -> None:
    first, second = releases(store, 2)
    for version in (first, second, first):
        promote(store, version)
    third, middle, start = moves(store)
    assert skin_standing.periods(first, [third, middle, start]) == (
        (third.moved_at, ""),
        (start.moved_at, middle.moved_at),
    )
    assert skin_standing.periods("none", [third, middle, start]) == ()


def test_a_version_has_its_figures_and_its_report(store: FolderStore) -> None:
    fill(store)
    now, *_ = moves(store, model=REAL)
    found = skin_standing.standing(opened(store, name=REAL), now.version, [now])
    assert found.figures
    assert found.figures.accuracy.value == pytest.approx(0.831)
    assert found.report.startswith("gate/")
    assert found.problem == ""


def test_figures_that_cannot_be_read_say_why(store: FolderStore) -> None:
    (version,) = releases(store, 1)  # its verdict is not in the store
    promote(store, version)
    found = skin_standing.standing(opened(store), version, moves(store))
    assert found.figures is None
    assert "gate/1" in found.problem


def test_the_signature_is_named_with_what_is_known_of_it(
    store: FolderStore, tmp_path: Path
) -> None:
    (version,) = releases(store, 1)
    said = skin_standing.signature(opened(store), version)
    assert said == "not signed; not verified, as SKIN_PUBLIC_KEY is not set here"
    pair = key_pairs.write(tmp_path, "ours")
    keys = SigningKeys(public=str(pair.public))
    assert "is not signed, but SKIN_PUBLIC_KEY is set" in skin_standing.signature(
        opened(store, keys), version
    )
