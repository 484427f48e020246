"""What is planted in a folder store where a file should be, and every call that may meet it."""

from __future__ import annotations

import io
import os
import socket
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from skin_pipeline.storage import FolderStore, copied, digest

KEY = "gate/4f1a/report.html"


SECRET = b"password: hunter2"


def a_link(secret: Path, at: Path) -> None:
    at.symlink_to(secret)


def a_relative_link(secret: Path, at: Path) -> None:
    at.symlink_to(os.path.relpath(secret, at.parent))


def a_link_to_nowhere(secret: Path, at: Path) -> None:
    at.symlink_to(secret.with_name("not-yet-there"))


def a_link_to_a_folder(secret: Path, at: Path) -> None:
    at.symlink_to(secret.parent)


def a_link_to_itself(_: Path, at: Path) -> None:
    at.symlink_to(at.name)


def a_link_within_the_store(_: Path, at: Path) -> None:
    (at.parent / "other").write_bytes(SECRET)
    at.symlink_to("other")


def a_pipe(_: Path, at: Path) -> None:
    os.mkfifo(at)


def a_socket(_: Path, at: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:  # by a short name: a long one does not fit
        here = os.open(".", os.O_RDONLY)
        os.chdir(at.parent)
        try:
            made.bind(at.name)
        finally:
            os.chdir(here)
            os.close(here)


def a_hard_link(secret: Path, at: Path) -> None:
    os.link(secret, at)


LINKS = [
    a_link,
    a_relative_link,
    a_link_to_nowhere,
    a_link_to_a_folder,
    a_link_to_itself,
    a_link_within_the_store,
]


PLANTED = [*LINKS, a_pipe, a_socket, a_hard_link]


Plant = Callable[[Path, Path], None]


def calls_to(store: FolderStore, key: str, folder: Path) -> dict[str, Callable[[], object]]:
    """Returns every call to a store about one key."""
    source = folder / "source"
    source.write_bytes(b"new")

    def opened() -> None:
        with store.opened(key) as file:
            file.read()

    return {
        "exists": partial(store.exists, key),
        "read": partial(store.read, key),
        "tagged": partial(store.tagged, key),
        "local": partial(store.local, key),
        "opened": opened,
        "copied": partial(copied, store, key, folder / "copy"),
        "read_into": partial(store.read_into, key, io.BytesIO()),
        "copy": partial(store.copy, key, "copied", digest(SECRET)),
        "put": partial(store.put, key, b"new"),
        "put_file": partial(store.put_file, key, source),
        "swap from nothing": partial(store.swap, key, b"new", None),
        "swap": partial(store.swap, key, b"new", digest(SECRET)),
        "remove": partial(store.remove, key),
    }


def all_in(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@contextmanager
def just_before(
    monkeypatch: pytest.MonkeyPatch, module: Any, function: str, name: str, act: Callable[[], None]
) -> Generator[list[str], None, None]:
    """Calls `act` once, just before a function is called with this first argument."""
    real = getattr(module, function)
    done: list[str] = []

    def acting(first: Any, *rest: Any, **how: Any) -> Any:
        if first == name and not done:
            done.append(name)
            act()
        return real(first, *rest, **how)

    with monkeypatch.context() as patch:
        patch.setattr(module, function, acting)
        yield done


def exchange(store: FolderStore, key: str, data: bytes) -> None:
    """Replaces the bytes under a key, as anyone who may write to its folder can."""
    (store.root / key).with_name("new").write_bytes(data)
    (store.root / key).with_name("new").replace(store.root / key)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)
