"""The settings of daily operation."""

from __future__ import annotations

import pytest

from skin_pipeline.config import Deployment, retraining
from skin_pipeline.config.operations import Retraining
from skin_pipeline.errors import BadInput


def test_what_an_installation_does_by_itself_is_little() -> None:
    given = Deployment()
    assert (given.approval, given.budget_core_hours, given.scoring_schedule) == ("never", 0, "")


def test_a_kind_of_approval_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIN_APPROVAL", "sometimes")
    with pytest.raises(ValueError, match="approval"):
        Deployment()


class TestRetraining:
    """What starts training, beside the schedule."""

    def test_words_are_taken_in_any_form_and_order_and_each_once(self) -> None:
        assert retraining(" Labels, data,LABELS,").kinds == ("data", "labels")
        assert retraining("") == Retraining((), ())
        retraining("data, drift").check()

    def test_what_is_not_known_is_named_with_what_there_is(self) -> None:
        found = retraining("labls, drift")
        assert found == Retraining(("drift",), ("labls",))
        with pytest.raises(BadInput, match=r"'labls', which starts nothing.*holds now: drift"):
            found.check()
