"""Documents of pointers: those of before are still read, and their signatures still verify."""

from __future__ import annotations

from pathlib import Path

from skin_pipeline.contracts import Pointer, parse
from skin_pipeline.release import pointers

GOLDEN = Path(__file__).parents[1] / "golden"


def test_a_pointer_of_this_schema_stays_readable() -> None:
    kept = parse((GOLDEN / "pointer-with-moves.json").read_bytes(), Pointer, "golden")
    assert (kept.alias, kept.number, kept.rollback) == ("canary", 7, True)


def test_a_signed_pointer_of_this_schema_stays_trusted() -> None:
    content = (GOLDEN / "pointer-signed.json").read_bytes()
    document = pointers.Document("golden", content, parse(content, Pointer, "golden"))
    public = (GOLDEN / "pointer-public.pem").read_bytes()
    assert pointers.signature_problem(document, public, document.move.store) == ""
    assert "was signed for the store" in pointers.signature_problem(document, public, "0" * 32)
