"""Pictures of pages are small, and taken once the page has come to rest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pictures
import pytest
from PIL import Image

from skin_pipeline.errors import BadInput


class Page:
    """A page that looks different each time until it has come to rest."""

    def __init__(self, looks: list[bytes]) -> None:
        self.looks = looks

    def screenshot(self, path: Path | None = None) -> bytes:
        if path:
            Image.frombytes("RGB", (300, 200), self.looks[-1]).save(path, format="PNG")
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    def wait_for_timeout(self, _milliseconds: int) -> None:
        """Waits for nothing."""


def page(*looks: bytes) -> Any:
    return Page(list(looks))


def test_a_picture_is_written_with_few_colours(tmp_path: Path) -> None:
    pictures._take(page(b"\x10\x80\xf0" * 60_000), tmp_path / "run.png")
    with Image.open(tmp_path / "run.png") as picture:
        assert picture.size == (300, 200)
        assert picture.mode == "P"


def test_a_picture_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MOST_BYTES", 10_000)
    with pytest.raises(BadInput, match=r"run.png has \d+ bytes, over 10000; lower COLOURS"):
        pictures._take(page(os.urandom(180_000)), tmp_path / "run.png")


def test_a_page_has_come_to_rest_when_it_looks_the_same_twice() -> None:
    moving = page(b"1", b"2", b"3", b"3", b"4")
    pictures._settle(moving)
    assert moving.looks == [b"4"]


def test_without_a_browser_nothing_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "CHROMIUM", None)
    with (
        pytest.raises(BadInput, match="neither chromium nor google-chrome"),
        pictures.open_browser(),
    ):
        pytest.fail("a browser was opened")
