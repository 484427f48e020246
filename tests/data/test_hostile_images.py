"""Files that were made to stop the work, or to take hours of it: each costs itself, and no more."""

from __future__ import annotations

import csv
import errno
import io
import itertools
import os
import time
from operator import itemgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hostile_images
import numpy as np
import pytest
import worker_tasks
from hostile_images import ATTACKS, LESION
from PIL import Image

from skin_pipeline import cli
from skin_pipeline.contracts import Abstention
from skin_pipeline.data import bounds, manifest, sources, workers
from skin_pipeline.data.images import inspect, inspect_bytes, inspecting, jpeg
from skin_pipeline.errors import Unavailable
from skin_pipeline.geometry import Geometry
from skin_pipeline.release import scores
from skin_pipeline.release.predict import Resolved, Scorer
from skin_pipeline.storage import FolderStore

SIDE = 32
GEOMETRY = Geometry(SIDE, 0.8)
linux = pytest.mark.skipif(not bounds.PAGES.exists(), reason="only Linux bounds this memory")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A data set with an attack between every two sound images."""
    place = tmp_path_factory.mktemp("hostile")
    for number, (name, attack) in enumerate(ATTACKS.items()):
        (place / ("benign", "malignant")[number % 2]).mkdir(exist_ok=True)
        (place / ("benign", "malignant")[number % 2] / name).write_bytes(attack.make())
    for label in ("benign", "malignant"):
        for number in range(6):
            LESION.rotate(number).save(place / label / f"{label}-{number}-sound.png")
    return place


@pytest.fixture(scope="module")
def seen(folder: Any) -> dict[str, Any]:
    """What the steps see of those images, by name."""
    found = manifest.inspected(sources.find(folder).files, 2, GEOMETRY)
    return {Path(item.key).name: result for item, result in found}


@linux
@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_image_is_quarantined_by_name_with_what_is_wrong(
    name: Any, seen: dict[str, Any]
) -> None:
    expected = ATTACKS[name].problem
    if expected:
        assert seen[name].problem.startswith(f"{name}: ")
        assert expected in seen[name].problem
        assert seen[name].pixels is None
    else:
        assert not seen[name].problem


def test_the_sound_images_beside_them_are_as_if_alone(folder: Any, seen: dict[str, Any]) -> None:
    sound = list(folder.rglob("*-sound.png"))
    assert len(sound) == 12
    for path in sound:
        alone = inspect(path, GEOMETRY)
        assert seen[path.name].sha256 == alone.sha256
        assert alone.pixels is not None
        assert np.array_equal(seen[path.name].pixels, alone.pixels)


def test_no_hostile_image_but_the_bomb_takes_over_a_second() -> None:
    for name in ATTACKS.keys() - {"bomb.png"}:
        data = ATTACKS[name].make()
        started = time.thread_time()
        inspect_bytes(data, name)
        assert time.thread_time() - started < 1, name


def test_an_image_that_keeps_the_decoder_busy_is_ended_and_told_and_the_others_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: FolderStore
) -> None:
    for label in ("benign", "malignant"):
        (tmp_path / label).mkdir()
        LESION.rotate(len(label)).save(tmp_path / label / "sound.png")
    (tmp_path / "benign/slow.png").write_bytes(hostile_images.slow())
    monkeypatch.setattr(bounds, "SECONDS", 0.2)  # the slow one takes more
    table = manifest.build(
        sources.find(tmp_path),
        store,
        Geometry(SIDE),
        shard_size=4,
        processes=1,
    ).table.set_index("key")
    assert list(table.index[~table["readable"]]) == ["benign/slow.png"]
    assert table.at["benign/slow.png", "problem"] == (
        "slow.png: decoding it took longer than 0.2 s of the processor's time"
    )
    assert table.at["benign/slow.png", "bytes"] == len(hostile_images.slow())


def test_the_largest_pictures_that_cameras_take_are_read_within_the_bounds() -> None:
    picture = Image.new("RGB", (12_032, 9_024), (180, 120, 90))
    picture.paste((60, 40, 30), (3_000, 3_000, 6_000, 6_000))
    on_its_side = Image.Exif()
    on_its_side[0x0112] = 6
    data = hostile_images.encoded(picture, "JPEG", exif=on_its_side)
    del picture
    assert endings([("large.jpg", data)]) == {"readable": 1, "problem": 0}


RELEASE: Any = SimpleNamespace(
    model="m",
    version="v",
    threshold=0.5,
    labels=("benign", "malignant"),
    abstention=Abstention(),
)


def scorer_of(processes: int) -> Scorer:
    """A model that gives every image the same probability."""
    return Scorer(RELEASE, lambda x: np.full((len(x), 1), 0.7), Geometry(SIDE, 0.8), processes)


def test_predict_tells_an_image_that_takes_too_long_in_its_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "SECONDS", 0.2)
    sound = hostile_images.encoded()
    rows = list(scorer_of(1).predict([sound, hostile_images.slow(), sound]))
    assert [row.probability for row in rows] == [0.7, None, 0.7]
    assert rows[1].problem == (
        "image 1: decoding it took longer than 0.2 s of the processor's time"
    )


def test_predict_writes_a_row_for_each_of_them(
    folder: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    scorer = scorer_of(2)
    monkeypatch.setattr(Scorer, "of", lambda model, threads, engine="": scorer)
    monkeypatch.setattr(scores, "_model", lambda *_: Resolved(RELEASE, tmp_path))
    monkeypatch.setenv("SKIN_STORE", str(tmp_path))
    assert cli.main(["predict", str(folder)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    problems = {Path(row["image"]).name: row["problem"] for row in rows}
    assert len(problems) == len(rows) == len(ATTACKS) + 12
    for name, attack in ATTACKS.items():
        assert attack.problem in problems.pop(name)
    assert set(problems.values()) == {""}
    assert {row["probability"] for row in rows if not row["problem"]} == {"0.700000"}


# --- what a decoder raises ------------------------------------------------------------------------


RAISED = [
    TypeError("Missing dimensions"),
    RecursionError("too deep"),
    SystemError("error return without exception set"),
    ZeroDivisionError(),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    UserWarning("Corrupt EXIF data"),
    Image.DecompressionBombError("too large"),
    AssertionError(),
    StopIteration("frames"),
]
PLACES = ["decode", "shrunk", "statistics", "fingerprint", "like_a_mask", "working_squares"]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("place", PLACES)
def test_whatever_is_raised_wherever_costs_one_image(
    place: str, error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(inspecting, place, broken)
    found = inspect_bytes(hostile_images.encoded(), "a.png", GEOMETRY)
    assert found.problem.startswith("a.png: ")
    assert str(error).split(":")[0] in found.problem
    assert found.bytes > 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_task_ends_it(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(inspecting, "decode", ended)
    with pytest.raises(error):
        inspect_bytes(hostile_images.encoded(), "a.png")


def test_an_error_is_told_in_one_short_line_that_can_be_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("one\ntwo\r\x1b[31m \u202e" + "x" * 100_000)

    monkeypatch.setattr(inspecting, "decode", broken)
    problem = inspect_bytes(b"x", "a.png").problem
    assert problem.startswith(r"a.png: one two \x1b[31m \u202exxx")
    assert len(problem) < 400
    assert problem.isprintable()


@pytest.mark.parametrize(
    "code", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENOMEM]
)
def test_a_disk_that_fails_is_not_blamed_on_the_image(
    code: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(hostile_images.encoded())

    def failing(_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(inspecting, "read", failing)
    with pytest.raises(Unavailable, match=rf"a\.png: cannot be read \({os.strerror(code)}\)"):
        inspect(path)


@pytest.mark.parametrize("kind", ["progressive", "baseline"])
def test_usual_numbers_of_scans_and_segments_are_read(kind: str) -> None:
    data = hostile_images.encoded(
        kind="JPEG", progressive=kind == "progressive", icc_profile=bytes(10_000_000)
    )
    assert not inspect_bytes(data, "a.jpg").problem
    assert not inspect_bytes(hostile_images.with_scans(80), "a.jpg").problem
    assert len(jpeg.read(hostile_images.with_scans(80)).scans) <= jpeg.MOST_SCANS


# --- mutants --------------------------------------------------------------------------------------

SEED = 14
SLOWEST = 5.0  # seconds of the processor for a file of a few kilobytes


def endings(files: Any, processes: int = 1) -> dict[str, Any]:
    """How often each thing was said of files, given their names and bytes."""
    said = {"readable": 0, "problem": 0}
    for name, readable in workers.each(
        worker_tasks.inspect_mutant, files, processes, worker_tasks.fail_killed, itemgetter(0)
    ):
        said["readable" if readable else "problem"] += 1
        assert name
    return said


def test_no_mutant_raises_or_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "SECONDS", SLOWEST)
    said = endings(hostile_images.mutants(500, SEED))
    assert min(said.values()) > 50


@pytest.mark.exhaustive
def test_none_of_a_hundred_thousand_mutants_raises_or_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "SECONDS", SLOWEST)
    said = endings(hostile_images.mutants(100_000, SEED + 1), os.cpu_count() or 1)
    assert min(said.values()) > 10_000


def test_mutants_are_the_same_for_the_same_seed_and_mostly_unlike_each_other() -> None:
    some = list(itertools.islice(hostile_images.mutants(200, 3), 200))
    assert some == list(hostile_images.mutants(200, 3))
    assert len({data for _, data in some}) > 190


@pytest.mark.parametrize("name", hostile_images.corpus())
def test_the_mutants_come_from_sound_images(name: Any) -> None:
    problem = inspect_bytes(hostile_images.corpus()[name], name).problem
    assert problem == "" or problem.endswith("frames; a lesion's image has one")
