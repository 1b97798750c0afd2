"""What callers say by keyword is what commands are told by options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scalrec.api.log import load_log
from scalrec.api.options import settings_for
from scalrec.options import settings_from
from shared.errors import ConfigError
from tests.support.small_log import small_log


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("said", "assignment"),
    [
        ({"device.k": 10}, "device.k=10"),
        ({"training.distil": True}, "training.distil=True"),
        ({"paper.gaps": (0, 3)}, "paper.gaps=[0, 3]"),
        ({"device.policy": "drift"}, "device.policy=drift"),
        ({"profile": "tiny"}, "profile=tiny"),
        ({"profile.window": 12}, "profile.window=12"),
        ({"device.cache_dir": Path("kept")}, "device.cache_dir=kept"),
    ],
)
def test_a_setting_by_its_name_is_an_assignment(said: dict[str, Any], assignment: str) -> None:
    found = settings_for({}, said, {})
    assert found == settings_from(assignments=[assignment])
    assert found != settings_from()


@pytest.mark.parametrize(
    ("said", "assignment"),
    [
        ({"device.k": 0}, "device.k=0"),
        ({"device.kk": 3}, "device.kk=3"),
        ({"device.policy": "sometimes"}, "device.policy=sometimes"),
        ({"embedder.backend": "mine"}, "embedder.backend=mine"),
        ({"device": 3}, "device=3"),
    ],
)
def test_what_is_wrong_is_refused_in_the_same_words(said: dict[str, Any], assignment: str) -> None:
    with pytest.raises(ConfigError) as by_option:
        settings_from(assignments=[assignment])
    with pytest.raises(ConfigError) as by_name:
        settings_for({}, said, {})
    assert str(by_name.value) == str(by_option.value)
    assert next(iter(said)) in str(by_name.value)


def test_none_is_no_value() -> None:
    with pytest.raises(ConfigError, match=r"device\.k is None: leave it out"):
        settings_for({}, {"device.k": None}, {})


def test_options_are_those_of_the_commands() -> None:
    found = settings_for(
        {"log": "movielens-100k", "assignments": ["log.min_events=7"]},
        {"seed": 4},
        {"embedder": "hashing", "profile": "full", "seed": 3, "work_dir": "here"},
    )
    assert (found.log.name, found.log.min_events) == ("movielens-100k", 7)
    assert (found.embedder.model, found.profile.name) == ("hashing", "full")
    assert (found.seed, found.work_dir) == (4, Path("here"))  # by its full name goes above


def test_a_log_of_ones_own_is_read_as_on_the_command_line(tmp_path: Path) -> None:
    loans, books = small_log(tmp_path)
    columns = {"user": "who", "item": "what", "time": "when"}
    log = load_log(loans, columns=columns, items=books, settings={"log.min_events": 14})
    assert (len(log), len(log.users), len(log.items)) == (45 * 14, 45, 12)
    frame = log.frame()
    assert frame.columns == ["user", "item", "title", "time"]
    assert frame.row(0) == ("reader0", "b0", "red river", 1_600_000_000.0)
    assert "45 users" in repr(log)
    again = load_log(loans, columns="user=who,item=what,time=when", items=books)
    assert again.frame().equals(frame)
    known = settings_for(log.source, None, {}).log
    assert (known.path, known.items, known.min_events) == (loans, books, 14)


def test_a_name_that_is_no_log_says_which_there_are() -> None:
    with pytest.raises(ConfigError, match="no log is called 'netflix': name one of movielens"):
        load_log("netflix")
