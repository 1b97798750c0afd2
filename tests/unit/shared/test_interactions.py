"""InteractionLog and Catalogue: what they refuse and what they tell."""

from __future__ import annotations

import numpy as np
import pytest

from shared.errors import DataError
from shared.interactions import Catalogue, InteractionLog

CATALOGUE = Catalogue(
    ids=("a", "b"), titles=("A", "B"), categories=((), ()), areas=("", ""), texts=("A", "B")
)


def log(
    user=(0, 0, 1), item=(0, 1, 0), time=(1.0, 2.0, 1.5), offset=None, users=("u", "v"), **more
):
    return InteractionLog(
        name="log",
        user=np.array(user, np.int32),
        item=np.array(item, np.int32),
        time=None if time is None else np.array(time, np.float64),
        utc_offset_min=None if offset is None else np.array(offset, np.int16),
        query=more.pop("query", None),
        user_ids=users,
        catalogue=CATALOGUE,
        **more,
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"user": (), "item": (), "time": ()}, "has no interactions"),
        ({"item": (0, 1)}, "column item has 2 rows, user has 3"),
        ({"time": (1.0,)}, "column time has 1 rows"),
        ({"offset": (0,)}, "column utc_offset_min has 1 rows"),
        ({"query": ("",)}, "column query has 1 rows"),
        ({"session": np.array([0, 0])}, "column session has 2 rows"),
        ({"session": np.array([1, 0, 0])}, "sessions of a user are not in order"),
        ({"user": (0, 1, 0)}, "not sorted by user"),
        ({"time": (2.0, 1.0, 1.5)}, "not in time order"),
        ({"time": (1.0, float("nan"), 1.5)}, "not in time order"),
        ({"item": (0, 2, 0)}, "items that the catalogue does not hold"),
        ({"item": (0, -1, 0)}, "items that the catalogue does not hold"),
        ({"users": ("u",)}, "users that user_ids does not name"),
        ({"user": (-1, 0, 1)}, "users that user_ids does not name"),
    ],
)
def test_refused(fields, message):
    with pytest.raises(DataError, match=message):
        log(**fields)


def test_events_of_a_session_so_far():
    user, item = (0, 0, 0, 0, 1, 1), (0, 1, 0, 1, 0, 1)
    events = log(user, item, time=None, session=np.array([0, 0, 4, 4, 4, 9]))
    assert events.session_events().tolist() == [0, 1, 0, 1, 0, 0]
    assert events.describe()["sessions"] == "4"
    assert log().session_events() is None
    assert "sessions" not in log().describe()


def test_rows_of_each_user():
    events = log()
    assert events.counts().tolist() == [2, 1]
    assert events.item[events.events_of(0)].tolist() == [0, 1]
    assert events.item[events.events_of(1)].tolist() == [0]


def test_local_hour_of_week_starts_on_monday():
    monday = 1704067200.0  # 2024-01-01T00:00Z
    events = log(time=(monday, monday + 167 * 3600, monday + 3600))
    assert events.local_hour_of_week().tolist() == [0.0, 167.0, 1.0]
    behind = log(time=(monday, monday + 167 * 3600, monday + 3600), offset=(-60, 60, 0))
    assert behind.local_hour_of_week().tolist() == [167.0, 0.0, 1.0]
    assert log(time=None).local_hour_of_week().tolist() == [0.0, 0.0, 0.0]


def test_local_hour_of_week_never_reaches_168():
    # The last instants of a week round up to 168 in float32.
    sunday = 1704067200.0 + 168 * 3600 - 1e-3
    assert log(time=(sunday, sunday, sunday)).local_hour_of_week().max() < 168.0


def test_return_share_leaves_first_events_aside():
    assert log(user=(0, 0, 1), item=(0, 0, 0)).return_share() == 1.0
    assert log().return_share() == 0.0


def test_description_counts():
    words = log().describe()
    assert words["users"] == "2"
    assert words["events per user (min / median / max)"] == "1 / 1 / 2"
    assert words["time span"] == "1970-01-01 to 1970-01-01"
    assert log(time=None).describe()["time span"] == "order only, no times"


def test_catalogue_is_consistent():
    with pytest.raises(DataError, match="differ in length"):
        Catalogue(ids=("a",), titles=(), categories=((),), areas=("",), texts=("x",))
    with pytest.raises(DataError, match="duplicate item ids"):
        Catalogue(
            ids=("a", "a"), titles=("A", "B"), categories=((), ()), areas=("", ""), texts=("A", "B")
        )
