"""What is used of a source, and the notices of the rest."""

from __future__ import annotations

from skin_pipeline.data.sources.contents import EXAMPLES, SUBJECTS, Skipped


def test_notices_stay_few_however_many_files_there_are() -> None:
    skipped = Skipped()
    for number in range(1000):
        skipped.add("files_skipped", f".{number % 50:02}", "not read", f"{999 - number:03}.x")
    skipped.add("link_skipped", "links", "circle")

    first, second = skipped.notices()

    assert (first.count, first.subject.count(",")) == (1000, SUBJECTS - 1)
    assert first.subject.endswith("and 42 more")
    assert first.reason == "not read (for instance '000.x', '001.x', '002.x')"
    assert first.reason.count(".x") == EXAMPLES
    assert (second.kind, second.reason) == ("link_skipped", "circle")
