"""Settings by log, and fewer users."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from experiments import spec
from scalrec.advice.setup import AGES, defaults, filled, some_users
from scalrec.options import settings_from
from tests.support.small_log import small_log
from training.data.registry import load_log
from training.settings import LogSettings


def a_log(folder: Path):  # type: ignore[no-untyped-def]
    path, items = small_log(folder)
    settings = LogSettings(
        name="loans", path=path, items=items, columns="user=who,item=what,time=when"
    )
    return load_log(settings, cache=folder)


def test_a_log_of_the_gates_is_treated_as_there(tmp_path: Path) -> None:
    found, gates = defaults(a_log(tmp_path), "redial"), spec.load("gates")
    assert found["training"] == {**gates.base["training"], **gates.logs["redial"]["training"]}
    assert tuple(found["paper"]["gaps"]) == AGES
    assert (
        defaults(a_log(tmp_path), "movielens-100k")["paper"]["steps"]
        == gates.base["paper"]["steps"]
    )


def test_any_other_log_gives_up_a_third_of_a_users_events_at_most(tmp_path: Path) -> None:
    training = defaults(a_log(tmp_path), "loans")["training"]  # 14 events each
    assert training["test_steps"] == 4
    assert training["validation_steps"] == 2
    assert (
        training["abstracts_per_user"] == spec.load("gates").base["training"]["abstracts_per_user"]
    )


def test_what_the_user_set_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCALREC_TRAINING__TEST_STEPS", "7")
    settings = settings_from(assignments=["paper.gaps=[0,3]"])
    found = filled(
        settings, {"training": {"test_steps": 20, "validation_steps": 4}, "paper": {"gaps": AGES}}
    )
    assert (found.training.test_steps, found.training.validation_steps) == (7, 4)
    assert found.paper.gaps == (0, 3)
    assert found.training.dim == settings.training.dim
    monkeypatch.delenv("SCALREC_TRAINING__TEST_STEPS")
    assert filled(settings_from(), {"paper": {"gaps": AGES}}).paper.gaps == AGES


def test_fewer_users_keep_their_events_whole(tmp_path: Path) -> None:
    log = a_log(tmp_path)
    fewer = some_users(log, 10, seed=3)
    assert fewer.n_users == 10
    for user, name in enumerate(fewer.user_ids):
        theirs = log.events_of(log.user_ids.index(name))
        mine = fewer.events_of(user)
        assert np.array_equal(fewer.item[mine], log.item[theirs])
        assert fewer.time is not None
        assert log.time is not None
        assert np.array_equal(fewer.time[mine], log.time[theirs])
    assert fewer.notes[-1] == "10 of 45 users, drawn at random"
    assert some_users(log, 10, seed=3).user_ids == fewer.user_ids
    assert some_users(log, 10, seed=4).user_ids != fewer.user_ids
    assert some_users(log, 45, seed=3) is log
