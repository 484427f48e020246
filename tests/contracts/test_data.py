"""Documents of the data: notices, and how a failed check is worded."""

from __future__ import annotations

import pytest

from skin_pipeline.contracts import Check, Interval, Notice, Shortcut


def test_notices_of_words_of_others_are_one_line() -> None:
    told = str(Notice(kind="x", subject="a\nb\u202e", reason="\x1b[31m https://a:hunter2@h"))
    assert told.isprintable()
    assert "hunter2" not in told


@pytest.mark.parametrize(("count", "text"), [(1, "a.csv: not used"), (3, "a.csv (3): not used")])
def test_a_notice_counts_what_it_stands_for(count: int, text: str) -> None:
    assert str(Notice(kind="x", subject="a.csv", reason="not used", count=count)) == text


def test_a_check_is_worded_in_one_way() -> None:
    check = Check(
        name="labels", severity="warning", observed="2 missing", bound="none", passed=False
    )
    assert check.described() == "labels: 2 missing, required none"


def test_a_shortcut_is_worded_like_a_check() -> None:
    auc = Interval(value=0.79, low=0.76, high=0.82)
    shortcut = Shortcut(name="image width", images=100, auc=auc, bound=0.65, passed=False)
    assert shortcut.described() == (
        "image width alone predicts the label: AUC 0.790 [0.760, 0.820], required at most 0.65"
    )
