"""Logs that no run can be made from are refused before training, with what to change."""

from __future__ import annotations

import pytest

from scalrec.jobs.enough import require_enough
from scalrec.settings import Settings
from shared.errors import DataError
from tests.support.staleness import make_log


def settings(test_steps: int = 10) -> Settings:
    return Settings.model_validate({"training": {"test_steps": test_steps}})


def test_an_ordinary_log_is_enough() -> None:
    assert require_enough(make_log(users=12, events=30), settings()) == []


@pytest.mark.parametrize("events", [4, 6, 13])
def test_only_users_whose_events_would_all_be_tested(events: int) -> None:
    log = make_log(users=12, events=events)
    with pytest.raises(DataError, match=r"training\.test_steps=10 leaves nothing to train on"):
        require_enough(log, settings())
    if events > 4:
        assert require_enough(log, settings(test_steps=max(1, events // 3))) == []


def test_one_user_is_noted() -> None:
    one = make_log(users=1, events=30)
    [note] = require_enough(one, settings())
    assert "figures are of one person" in note
