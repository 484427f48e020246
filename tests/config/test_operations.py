"""The settings of daily operation."""

from __future__ import annotations

import pytest

from skin_pipeline.config import Deployment


def test_what_an_installation_does_by_itself_is_little() -> None:
    given = Deployment()
    assert (given.approval, given.budget_core_hours, given.scoring_schedule) == ("never", 0, "")


def test_a_kind_of_approval_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKIN_APPROVAL", "sometimes")
    with pytest.raises(ValueError, match="approval"):
        Deployment()
