"""The error of an image that was read, but cannot be used."""

from __future__ import annotations

from image_files import LESION, encoded

from skin_pipeline.data.images import inspect_bytes


def test_its_message_alone_is_the_reason_of_the_quarantine() -> None:
    """Other errors are shown with their name before their text."""
    tiny = encoded(LESION.resize((20, 70)))
    assert inspect_bytes(tiny, "a.png").problem == "a.png: 20x70 has a side under 64 pixels"
