"""A promotion on a disk that gets full or read-only, and without the right to write."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from children import in_child
from interrupted import Promotion, assert_harmless, prepared
from released import MODEL, opened, promote, release
from small_disk import MIB, Errors, mounted

from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.storage import FolderStore, Store, open_store

NOBODY = 65_534


def with_a_champion(store: Any) -> Any:
    promote(store, release(store, b"old").version)
    return store


def drafts(folder: Path) -> list[Path]:
    return list(folder.rglob("*.part"))


@pytest.fixture(params=["disk", "errors"])
def on_disk(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Callable[[Callable[[Any], object]], None]:
    """Does something in a process that has a small disk.

    Where nobody may mount, both are the errors alone.
    """

    def run(body: Any) -> None:
        make = mounted if request.param == "disk" else errors
        in_child(lambda: body(make(tmp_path / "disk")))

    def errors(folder: Path) -> Any:
        folder.mkdir()
        return Errors(folder)

    return run


# --- full ----------------------------------------------------------------------------------------


def refused(tried: Promotion, store: Store) -> str | None:
    """What a promotion says that does not find the space it needs."""
    try:
        tried.run(store)
    except Unavailable as error:
        return str(error)
    return None


def tells(said: str, setting: str) -> bool:
    return said.startswith("no space left for") and f"folder in {setting}" in said


def test_a_model_that_does_not_fit_is_unavailable_and_harms_nothing(on_disk: Any) -> None:
    def promote_it(disk: Any) -> None:
        store = with_a_champion(FolderStore(disk.folder / "store"))
        tried = prepared(store, bytes(4 * MIB))
        disk.fill(leave=256)
        assert tells(refused(tried, store) or "", "SKIN_STORE")
        assert not drafts(disk.folder)
        disk.free()
        assert_harmless(store, tried)

    on_disk(promote_it)


def test_a_disk_full_at_any_write_of_a_promotion_harms_nothing(on_disk: Any) -> None:
    def promote_all(disk: Any) -> None:
        store = with_a_champion(FolderStore(disk.folder / "store"))
        for leave in count():
            tried = prepared(store, b"new %d" % leave)
            disk.fill(leave)
            # Held open, the old pointer keeps its block, so that there is none for the history.
            with Path(store.link(f"models/{MODEL}/champion.json")).open():
                said = refused(tried, store)
            assert not drafts(disk.folder)
            disk.free()
            assert_harmless(store, tried)
            if said is None:
                break
            assert tells(said, "SKIN_STORE")
        assert leave == 5  # model, metrics, manifest, pointer and history

    on_disk(promote_all)


def test_a_cache_full_at_any_download_of_a_promotion_harms_nothing(
    on_disk: Any, s3_server: Any
) -> None:
    where = {"endpoint": s3_server.endpoint, "credentials": s3_server.credentials}
    url = f"s3://{s3_server.bucket}/{uuid.uuid4().hex}"

    def promote_all(disk: Any) -> None:
        fresh = partial(open_store, url, **where)
        store = with_a_champion(fresh(cache=disk.folder / "store"))
        for leave in count():
            tried = prepared(store, b"new %d" % leave)
            cache = disk.folder / str(leave)
            disk.fill(leave)
            said = refused(tried, fresh(cache=cache))
            assert not drafts(disk.folder)
            disk.free()
            assert_harmless(fresh(cache=cache), tried)
            if said is None:
                break
            assert tells(said, "SKIN_CACHE")
        assert leave >= 2  # model and metrics

    on_disk(promote_all)


# --- read-only -----------------------------------------------------------------------------------


@pytest.mark.parametrize("published", [False, True])
def test_a_disk_that_gets_read_only_is_bad_input_and_harms_nothing(
    on_disk: Any, published: Any
) -> None:
    def promote_it(disk: Any) -> None:
        store = with_a_champion(FolderStore(disk.folder / "store"))
        tried = prepared(store, b"new")
        if published:
            opened(store).publish(tried.made, tried.sources)
        disk.lock()
        with pytest.raises(BadInput, match=r"cannot be used: Read-only file system.*SKIN_STORE"):
            tried.run(store)
        opened(store).verify_alias()  # whoever only reads sees nothing of it
        disk.unlock()
        assert_harmless(store, tried)

    on_disk(promote_it)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user of the machine can reach."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def set_mode(folder: Path, mode: int) -> None:
    """Give all folders a mode, and let everybody read the files, as an operator may wish."""
    for each in [folder, *folder.rglob("*")]:
        each.chmod(mode if each.is_dir() else 0o644)


@pytest.mark.parametrize("published", [False, True])
def test_a_store_that_one_may_only_read_is_bad_input_and_is_not_harmed(
    public: Any, published: Any
) -> None:
    store = with_a_champion(FolderStore(public / "store"))
    tried = prepared(store, b"new")
    if published:
        opened(store).publish(tried.made, tried.sources)

    def promote_it() -> None:
        if os.getuid() == 0:  # whom no mode holds back
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        with pytest.raises(BadInput, match=r"cannot be used: Permission denied.*SKIN_STORE"):
            tried.run(store)
        opened(store).verify_alias()

    set_mode(store.root, 0o555)
    try:
        in_child(promote_it)
    finally:
        set_mode(store.root, 0o755)
    assert_harmless(store, tried)
