"""Which module reads what, and what is said when none can."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from shared.errors import ConfigError, DataError
from training.data.registry import fetch, known_logs, load_log, repeat_policy
from training.settings import LogSettings


def test_known_logs_are_described():
    logs = known_logs()
    fetched = ["movielens-100k", "foursquare-nyc"]
    assert [log.name for log in logs if log.fetchable] == fetched
    brought = ["redial", "amazon-beauty", "amazon-toys"]
    assert [log.name for log in logs] == fetched + brought
    assert all(log.origin and "ite" in log.terms for log in logs)


@pytest.mark.parametrize("name", ["redial", "amazon-beauty", "amazon-toys"])
def test_log_to_bring_says_where_it_is_published(tmp_path, name):
    message = rf"{name} is a log you bring; give its file with .*--log PATH.* authors .*\.txt|jsonl"
    with pytest.raises(ConfigError, match=message):
        fetch(name, tmp_path)
    with pytest.raises(ConfigError, match=message):
        load_log(LogSettings(name=name), cache=tmp_path)


def test_unknown_name_lists_the_known(tmp_path):
    with pytest.raises(ConfigError, match="'netflix': name one of movielens-100k, foursquare-nyc"):
        fetch("netflix", tmp_path)
    with pytest.raises(ConfigError, match="--log PATH"):
        load_log(LogSettings(name="netflix"), cache=tmp_path)


@pytest.mark.parametrize("field", ["path", "items"])
def test_missing_file_is_named(tmp_path, write, field):
    files = {"path": write("log.txt", "1 2 3 4 5 6\n"), field: tmp_path / "none.csv"}
    with pytest.raises(DataError, match=r"none\.csv: no such file"):
        load_log(LogSettings(**files), cache=tmp_path)


def test_file_of_one_s_own_is_named_after_it_or_as_wished(tmp_path, write):
    path = write("my log (1).v2.txt", "1 2 3 4 5 6\n")
    assert load_log(LogSettings(path=path), cache=tmp_path).name == "my-log-1"
    assert load_log(LogSettings(path=path, name="mine"), cache=tmp_path).name == "mine"


def test_few_events_are_what_suits_the_log_unless_set(tmp_path, write):
    path = write("log.txt", "1 2 3 4 5 6\n7 2 3 4 5\n")
    assert load_log(LogSettings(path=path), cache=tmp_path).n_users == 1
    assert load_log(LogSettings(path=path, min_events=4), cache=tmp_path).n_users == 2
    said = {"conversationId": 1, "initiatorWorkerId": 1, "movieMentions": {}}
    talk = said | {"messages": [{"text": f"@{film}"} for film in range(100, 110)]}
    talk["movieMentions"] = {str(film): f"Film {film}" for film in range(100, 110)}
    talks = write("talks.jsonl", json.dumps(talk) + "\n")
    with pytest.raises(DataError, match="none of its 1 users has 15 or more"):
        load_log(LogSettings(path=talks), cache=tmp_path)
    assert len(load_log(LogSettings(path=talks, min_events=10), cache=tmp_path)) == 10


@pytest.mark.parametrize(
    ("line", "expected"), [("1 2 3 4 5 2", "allow"), ("1 2 3 4 5 6", "exclude")]
)
def test_repeat_policy_follows_the_log_unless_set(tmp_path, write, line, expected):
    settings = LogSettings(path=write("log.txt", line + "\n"))
    log = load_log(settings, cache=tmp_path)
    assert repeat_policy(settings, log) == expected
    for fixed in ("allow", "exclude"):
        assert repeat_policy(LogSettings(repeat_policy=fixed), log) == fixed


def test_reading_logs_needs_no_torch():
    code = "import sys, training.data.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
