"""Manifests and pointers, which a stranger may have written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skin_pipeline.contracts import CHAMPION, Pointer, Release, dump, parse
from skin_pipeline.errors import BadInput

HONEST = {
    "model": "skin-resnet50",
    "version": "4f1a2b3c4d5e6f7a8b9c",
    "verdict": "gate/4f1a2b3c4d5e6f7a8b9c",
    "synthetic": False,
    "content_digest": "53b1c0ffee",
    "labels": ["benign", "malignant"],
    "threshold": 0.4,
    "files": {"model.keras": "a" * 64},
    "published_at": "2026-11-24T12:00:00.123456+00:00",
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("labels", ["=cmd|'/c calc'!A1", "malignant"]),
        ("labels", ["malignant", "benign"]),
        ("labels", ["benign", "malignant", "other"]),
        ("model", "skin\n2026 INFO promoted"),
        ("model", "../../skin"),
        ("model", "=1"),
        ("model", "skin\u202e"),
        ("model", ""),
        ("version", "4f1a\x1b[31m"),
        ("version", "../4f1a"),
        ("verdict", "=HYPERLINK(1)"),
        ("verdict", "gate/\n"),
        ("content_digest", "<script>"),
        ("threshold", 1.5),
        ("threshold", -0.1),
        ("threshold", "NaN"),
        ("threshold", "Infinity"),
        ("files", {"../model.keras": "a" * 64}),
        ("files", {"model.keras": "=1"}),
        ("published_at", "today\n"),
    ],
)
def test_a_manifest_of_a_stranger_is_read_in_its_form_only(field: str, value: Any) -> None:
    assert parse(json.dumps(HONEST).encode(), Release, "manifest.json").model == "skin-resnet50"
    hostile = json.dumps({**HONEST, field: value}).encode()
    with pytest.raises(BadInput, match=f"not a Release document.*{field}") as caught:
        parse(hostile, Release, "manifest.json")
    assert str(caught.value).isprintable()


POINTER = {
    "model": "skin-resnet50",
    "version": "4f1a2b3c4d5e6f7a8b9c",
    "previous": None,
    "moved_at": "2026-11-24T12:00:00+00:00",
    "by": "ada",
    "reason": "promoted",
}


def test_a_pointer_from_before_moves_were_counted_is_the_champion() -> None:
    pointer = parse(json.dumps(POINTER).encode(), Pointer, "champion.json")
    assert (pointer.alias, pointer.number, pointer.rollback) == (CHAMPION, 0, False)
    assert (pointer.previous_sha256, pointer.history_sha256, pointer.signature) == ("", "", "")


def test_a_move_is_the_pointer_as_it_left_it() -> None:
    pointer = parse(json.dumps(POINTER).encode(), Pointer, "champion.json")
    assert parse(dump(pointer), Pointer, "1.json").model_dump() == pointer.model_dump()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("number", -1),
        ("previous_sha256", "a" * 63),
        ("history_sha256", "A" * 64),
        ("store", "../store"),
        ("signature", "<script>"),
    ],
)
def test_digests_and_signatures_of_a_pointer_have_their_form(field: str, value: Any) -> None:
    with pytest.raises(BadInput, match=f"not a Pointer document.*{field}"):
        parse(json.dumps({**POINTER, field: value}).encode(), Pointer, "champion.json")
