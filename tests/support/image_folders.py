"""Folders with images, for tests of where images come from."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from skin_pipeline.data import sources


def image(path: Path) -> None:
    """Writes a small image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)


def lay_out(root: Path, *paths: str) -> Path:
    """Writes small images below a folder, and returns it."""
    for path in paths:
        image(root / path)
    return root


def told(found: sources.Images) -> dict[tuple[str, str], int]:
    """Returns how many files each notice is about."""
    return {(notice.kind, notice.subject): notice.count for notice in found.notices}
