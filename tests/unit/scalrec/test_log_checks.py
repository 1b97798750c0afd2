"""What is said of a log, and which setting is named where something looks wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scalrec.log_checks import LogCheck, log_checks
from shared.interactions import InteractionLog
from shared.log_reading import LogReading
from shared.split import split_log
from training.data.registry import load_log
from training.settings import LogSettings

DAY = 86_400
T = 19_000 * DAY
HOUR = 3_600
NAMES = [
    "item text",
    "words per item",
    "duplicate rows",
    "tied times",
    "returns",
    "events per user",
    "events per day",
    "gaps between requests",
]
TITLES = "item_id,title,genre\n" + "".join(
    f"{item},The {'abcdefghijkl'[item]} of it all,Drama\n" for item in range(12)
)


def rows(users: int = 6, events: int = 20, step: int = HOUR) -> list[tuple[int, int, int]]:
    """(user, item, time): users an hour and a second apart, who return to items."""
    return [
        (user, (user + n) % 12, T + user * 61 + n * step)
        for user in range(users)
        for n in range(events)
    ]


def told(
    tmp_path: Path,
    events: list[tuple[int, int, int]],
    items: str | None = TITLES,
    columns: str | None = None,
    **settings: object,
) -> dict[str, LogCheck]:
    """The checks of a csv of ``events``, by name."""
    path = tmp_path / "log.csv"
    path.write_text("user,item,time\n" + "".join(f"{u},{i},{t}\n" for u, i, t in events))
    if items is not None:
        (tmp_path / "items.csv").write_text(items)
        settings["items"] = tmp_path / "items.csv"
    log = load_log(LogSettings(path=path, columns=columns, **settings), cache=tmp_path)
    return checked(log)


def checked(log: InteractionLog) -> dict[str, LogCheck]:
    found = log_checks(log, split_log(log))
    assert [check.name for check in found] == NAMES
    return {check.name: check for check in found}


def doubtful(checks: dict[str, LogCheck]) -> list[str]:
    return [name for name, check in checks.items() if check.advice]


def test_a_log_in_order_raises_no_doubt(tmp_path: Path) -> None:
    checks = told(tmp_path, rows())
    assert doubtful(checks) == []
    assert {name: check.found for name, check in checks.items()} == {
        "item text": "12 of 12 items (100.0 %) have some",
        "words per item": "median 6",
        "duplicate rows": "none: no two rows have the same user, item and time",
        "tied times": "0.0 % of events share their time with another of the same user",
        # Of each user's 20 events the last eight, of the 19 after the first.
        "returns": "42.1 % of events repeat an item of the user, so items a user had may be "
        "recommended (log.repeat_policy)",
        "events per user": "median 20 (5th and 95th percentile 20 and 20); 6 of 6 users can be "
        "tested",
        "events per day": "median 120 over 1 day; at most 120 on one (100.0 % of all)",
        "gaps between requests": "median 3,600 s; 0.0 % within a minute, 0.0 % within ten, "
        "100.0 % within a day",
    }


def test_items_without_text(tmp_path: Path) -> None:
    checks = told(tmp_path, rows(), items=None)
    assert doubtful(checks) == ["item text", "words per item"]
    assert "--items" in checks["item text"].advice
    assert checks["words per item"].found == "median 0; without any: 12 of 12 items"


def test_ids_that_meet_in_part(tmp_path: Path) -> None:
    half = "".join(TITLES.splitlines(keepends=True)[:7]) + "77,Never heard of it,Drama\n"
    checks = told(tmp_path, rows(), items=half)
    assert checks["item text"].found == (
        "6 of 12 items (50.0 %) have some; described and never met: 1"
    )
    assert "--items" in checks["item text"].advice
    assert "without any: 6 of 12 items" in checks["words per item"].found


def test_titles_of_a_word_are_hardly_any(tmp_path: Path) -> None:
    names = "item_id,title\n" + "".join(f"{item},Song\n" for item in range(12))
    checks = told(tmp_path, rows(), items=names)
    assert doubtful(checks) == ["words per item"]
    assert checks["words per item"].found == "median 1"


def test_duplicates_are_counted_whatever_becomes_of_them(tmp_path: Path) -> None:
    events = rows()
    dropped = told(tmp_path, [*events, *events[:6]])["duplicate rows"]
    assert dropped.found == "6 of 126 rows (4.8 %), dropped"
    assert "log.duplicates=keep" in dropped.advice
    kept = told(tmp_path, [*events, *events[:6]], duplicates="keep")["duplicate rows"]
    assert kept.found == "6 of 126 rows (4.8 %), kept"
    assert "log.duplicates=drop" in kept.advice
    one = told(tmp_path, [*events, events[0]])["duplicate rows"]
    assert (one.found, one.advice) == ("1 of 121 rows (0.8 %), dropped", "")


def test_times_of_days_tie(tmp_path: Path) -> None:
    whole = [(user, item, time // DAY * DAY) for user, item, time in rows()]
    checks = told(tmp_path, whole, duplicates="keep")
    assert checks["tied times"].found.startswith("100.0 % of events share")
    assert "time=" in checks["tied times"].advice
    assert "bursts" in checks["gaps between requests"].advice


def test_no_times_are_said_to_be_missing(tmp_path: Path) -> None:
    checks = told(tmp_path, rows(), columns="user=user,item=item")
    assert doubtful(checks) == ["tied times"]
    for name in ("tied times", "duplicate rows", "events per day", "gaps between requests"):
        assert "the log has no times" in checks[name].found
    assert "time=" in checks["tied times"].advice


def test_what_users_never_do_again_is_left_out(tmp_path: Path) -> None:
    checks = told(tmp_path, rows(events=12))
    assert checks["returns"].found == (
        "0.0 % of events repeat an item of the user, so items a user had are never recommended "
        "(log.repeat_policy)"
    )


def test_short_histories_and_robots(tmp_path: Path) -> None:
    short = [*rows(users=3, events=3), *rows(users=7, events=20)[60:80]]
    checks = told(tmp_path, short, min_events=3)
    assert "1 of 4 users can be tested" in checks["events per user"].found
    assert "training.validation_steps" in checks["events per user"].advice
    robot = [*rows(), *((99, n % 12, T + n) for n in range(10_001))]
    checks = told(tmp_path, robot)
    assert "user '99' has 10,001: a robot" in checks["events per user"].advice


def test_a_day_of_imports_and_days_that_are_missing(tmp_path: Path) -> None:
    spread = rows(step=DAY)  # six events on each of twenty days
    assert not told(tmp_path, spread)["events per day"].advice
    imported = [(6, n % 12, T + 5 * DAY + n * 60) for n in range(40)]
    checks = told(tmp_path, [*spread, *imported])
    assert "over 20 days; at most 46 on one (28.7 % of all)" in checks["events per day"].found
    assert "one day holds much of the log" in checks["events per day"].advice
    busy = rows(users=24, step=DAY)
    holes = [row for row in busy if (row[2] - T) // DAY not in (7, 8, 9)]
    found = told(tmp_path, holes)["events per day"]
    assert "3 of them without any" in found.found
    assert "is a part of it missing" in found.advice


def test_a_log_that_was_read_from_no_file(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,item,time\n" + "".join(f"{u},{i},{t}\n" for u, i, t in rows()))
    log = replace(load_log(LogSettings(path=path), cache=tmp_path), reading=None)
    assert "not read from a file" in checked(log)["duplicate rows"].found


@pytest.mark.parametrize("duplicates", ["auto", "keep", "drop"])
def test_what_reading_came_to_is_kept_in_numbers(tmp_path: Path, duplicates: str) -> None:
    path = tmp_path / "log.csv"
    events = [*rows(), rows()[0]]
    path.write_text("user,item,time\n" + "".join(f"{u},{i},{t}\n" for u, i, t in events))
    log = load_log(LogSettings(path=path, duplicates=duplicates), cache=tmp_path)
    assert log.reading == LogReading(
        rows=121, duplicates=1, duplicates_dropped=duplicates != "keep", items_told=None
    )
    assert log.take(np.arange(10)).reading == log.reading
