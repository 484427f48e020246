"""Documents of batch scoring: as written, so read, and safe to show."""

from __future__ import annotations

import pytest

from skin_pipeline.contracts import ScoredChunk, ScoringChunk, ScoringPlan, dump, parse
from skin_pipeline.errors import BadInput

ABOUT = {
    "model": "skin",
    "alias": "champion",
    "version": "4f1a",
    "source": "s3://clinic/new",
    "run": "manual__1",
    "began_at": "2026-11-26T08:00:00Z",
}


def test_a_chunk_keeps_names_of_any_language() -> None:
    made = ScoringChunk(**ABOUT, images=(("Muttermal ä/1.jpg", "Muttermal%20%C3%A4%2F1.jpg", "7"),))
    assert parse(dump(made), ScoringChunk, "chunk.json") == made


def test_what_was_skipped_cannot_draw_a_second_line() -> None:
    made = ScoringPlan(**ABOUT, chunks=(), images=0, known=0, skipped=("a\nb\u202e",))
    assert all(text.isprintable() for text in made.skipped)


def test_a_result_without_counts_is_refused() -> None:
    with pytest.raises(BadInput, match="counts"):
        parse(b'{"rows": "", "ids": [], "seen": []}', ScoredChunk, "result.json")
