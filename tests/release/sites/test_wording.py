"""A profile in words: what it is, what it was made from, what it reaches, what is missing."""

from __future__ import annotations

import pytest
from profiled_sites import interval, profile

from skin_pipeline.release.sites import described, shown, table


def test_a_profile_in_sentences() -> None:
    what, counts, reached, more = described(profile())
    assert what.startswith("Site clinic-b, profile 1, for version 4f1a of skin: threshold 0.200")
    assert "to find 90.0% of the malignant images (point)" in what
    assert "20 malignant and 80 benign images (20 and 75 patients" in counts
    assert "1 unreadable; 2 left out" in counts
    assert "sensitivity 90 % [85 %, 95 %] (the version's own threshold: 98 % [93 %, 100 %])" in (
        reached
    )
    assert more == (
        "To know sensitivity and specificity to ±0.05 takes about 141 malignant and 385 benign."
    )


@pytest.mark.parametrize(
    ("needed", "said"),
    [
        ((141, 75), "takes about 141 malignant."),
        ((20, 385), "takes about 385 benign."),
        ((20, 75), "are known to about ±0.05."),
    ],
)
def test_only_what_is_lacking_is_asked_for(needed: tuple[int, int], said: str) -> None:
    made = profile(needed_malignant=needed[0], needed_benign=needed[1])
    assert described(made)[-1].endswith(said)


def test_an_interval_in_percent() -> None:
    assert shown(interval(0.857, 0.1)) == "86 % [76 %, 96 %]"


def test_a_table_has_a_row_for_each_profile() -> None:
    head, *rows = table([profile(), profile("clinic-c")])
    assert len({len(head), *map(len, rows)}) == 1
    assert [row[0] for row in rows] == ["clinic-b", "clinic-c"]
    assert "0.98 / 0.20" in rows[0]
