"""What `scalrec data show` says of a log: each figure, and what to do where it looks wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reports.text import MARKDOWN, percent
from shared.interactions import InteractionLog
from shared.split import Split
from training.data.degenerate import MOST_EVENTS
from training.data.figures import (
    DayFigures,
    RequestGaps,
    UserFigures,
    WordFigures,
    day_figures,
    gap_figures,
    user_figures,
    word_figures,
)
from training.data.registry import RETURNS_ALLOWED_ABOVE

TOLD_AT_LEAST = 0.9  # share of items with text
WORDLESS_AT_MOST = 0.1  # share of items known by an opaque id alone
FEWEST_WORDS = 3  # of the median item's text
REPEATED_AT_MOST = 0.01  # share of rows
TIED_AT_MOST = 0.1  # share of events
ONE_DAY_AT_MOST, SPAN_DAYS = 0.2, 10  # share of events on one day, of a span of at least so many
EMPTY_AT_MOST, BUSY_DAY = 0.1, 20  # share of days without an event, where so many are usual
BURSTS_AT_MOST = 0.5  # share of requests that follow within a minute
TESTED_AT_LEAST = 0.5  # share of users
ROBOT_TIMES, ROBOT_EVENTS = 100, 10_000  # of the median user's events; and so many at least
NO_TIMES = "not known: the log has no times"


@dataclass(frozen=True, slots=True)
class LogCheck:
    """One line: ``advice`` says what looks wrong and what to change; "" where nothing does."""

    name: str
    found: str
    advice: str = ""


def log_checks(log: InteractionLog, split: Split) -> list[LogCheck]:
    """Everything to look at before a run on ``log`` is trusted, in the order of reading."""
    return [
        _told(log),
        _words(word_figures(log), len(log.catalogue)),
        _duplicates(log),
        _ties(log),
        _returns(log),
        _users(user_figures(log), log, split),
        *_times(log),
    ]


def _told(log: InteractionLog) -> LogCheck:
    name, reading, total = "item text", log.reading, len(log.catalogue)
    if reading is None or reading.items_told is None:
        return LogCheck(
            name,
            "none was brought: an item is known by its id",
            "the text model has the id's own words at most: bring titles by --items FILE, or by "
            "text=COLUMN in --columns",
        )
    share = reading.items_told / total
    unused = f"; described and never met: {reading.items_unused:,}" if reading.items_unused else ""
    found = f"{reading.items_told:,} of {total:,} items ({_percent(share)}) have some{unused}"
    if share >= TOLD_AT_LEAST:
        return LogCheck(name, found)
    return LogCheck(
        name, found, "ids of log and items file differ for the rest: look at both files (--items)"
    )


def _words(words: WordFigures, total: int) -> LogCheck:
    nothing = f"; without any: {words.wordless:,} of {total:,} items" if words.wordless else ""
    found = f"median {words.median:,.0f}{nothing}"
    advice = ""
    if words.wordless > WORDLESS_AT_MOST * total:
        advice = (
            "the text model cannot tell items without words apart; bring their titles (--items)"
        )
    elif words.median < FEWEST_WORDS:
        advice = "hardly a word to go by; bring categories or descriptions as well (--items)"
    return LogCheck("words per item", found, advice)


def _duplicates(log: InteractionLog) -> LogCheck:
    name, reading = "duplicate rows", log.reading
    if reading is None:
        return LogCheck(name, "not known: the log was not read from a file")
    if reading.duplicates is None:
        return LogCheck(name, f"{NO_TIMES}; every row is an event")
    share = reading.duplicates / reading.rows
    done = "dropped" if reading.duplicates_dropped else "kept"
    of = f"{reading.duplicates:,} of {reading.rows:,} rows ({_percent(share)})"
    if not reading.duplicates:
        return LogCheck(name, "none: no two rows have the same user, item and time")
    if share <= REPEATED_AT_MOST:
        return LogCheck(name, f"{of}, {done}")
    if reading.duplicates_dropped:
        advice = "if they are events of their own: --set log.duplicates=keep"
    else:
        advice = "if the file has rows twice: --set log.duplicates=drop"
    return LogCheck(name, f"{of}, {done}", advice)


def _ties(log: InteractionLog) -> LogCheck:
    name = "tied times"
    if log.time is None:
        return LogCheck(
            name,
            f"{NO_TIMES}; events are in the order of the file",
            "name the column of times if there is one (time= in --columns)",
        )
    share = log.tied_share()
    found = f"{_percent(share)} of events share their time with another of the same user"
    if share <= TIED_AT_MOST:
        return LogCheck(name, found)
    return LogCheck(
        name,
        found,
        "which of them came first is the file's order: name a column of finer times "
        "(time= in --columns), or sort the file as it happened",
    )


def _returns(log: InteractionLog) -> LogCheck:
    share = log.return_share()
    if share > RETURNS_ALLOWED_ABOVE:
        done = "so items a user had may be recommended (log.repeat_policy)"
    else:
        done = "so items a user had are never recommended (log.repeat_policy)"
    return LogCheck("returns", f"{_percent(share)} of events repeat an item of the user, {done}")


def _users(users: UserFigures, log: InteractionLog, split: Split) -> LogCheck:
    tested = len(split.tested())
    found = (
        f"median {users.median:,.0f} (5th and 95th percentile {users.low:,.0f} and "
        f"{users.high:,.0f}); {tested:,} of {log.n_users:,} users can be tested"
    )
    advice = ""
    if users.most > min(max(ROBOT_EVENTS, ROBOT_TIMES * users.median), MOST_EVENTS):
        advice = (
            f"user {users.busiest!r} has {users.most:,}: a robot, or an id that stands for many? "
            "Leave such rows out of the file"
        )
    elif tested < TESTED_AT_LEAST * log.n_users:
        advice = (
            "most histories are too short, so figures are those of the others: lower "
            "training.validation_steps, or bring a longer log"
        )
    return LogCheck("events per user", found, advice)


def _times(log: InteractionLog) -> Iterator[LogCheck]:
    days, gaps = day_figures(log), gap_figures(log)
    yield LogCheck("events per day", NO_TIMES) if days is None else _days(days)
    yield LogCheck("gaps between requests", NO_TIMES) if gaps is None else _gaps(gaps)


def _days(days: DayFigures) -> LogCheck:
    empty = f", {days.empty:,} of them without any" if days.empty else ""
    span = "day" if days.days == 1 else "days"
    found = (
        f"median {days.median:,.0f} over {days.days:,} {span}{empty}; at most {days.most:,} on one "
        f"({_percent(days.most_share)} of all)"
    )
    advice = ""
    if days.days >= SPAN_DAYS and days.most_share > ONE_DAY_AT_MOST:
        advice = (
            "one day holds much of the log: an import, whose times are not those of use? "
            "Name another column of times (time= in --columns)"
        )
    elif days.empty > EMPTY_AT_MOST * days.days and days.median >= BUSY_DAY:
        advice = (
            "a log that is this busy has days without any event: is a part of it missing? "
            "(--log takes a folder or a pattern of parts)"
        )
    return LogCheck("events per day", found, advice)


def _gaps(gaps: RequestGaps) -> LogCheck:
    found = (
        f"median {gaps.median:,.0f} s; {_percent(gaps.minute)} within a minute, "
        f"{_percent(gaps.ten_minutes)} within ten, {_percent(gaps.day)} within a day"
    )
    if gaps.minute > BURSTS_AT_MOST:
        return LogCheck(
            "gaps between requests",
            found,
            "most requests come in bursts, as where a form is filled in or an import is logged: "
            "are these the times of use (time= in --columns)? A snapshot that is minutes old is "
            "many events old then",
        )
    return LogCheck("gaps between requests", found)


def _percent(share: float) -> str:
    return percent(share, 1, style=MARKDOWN)
