"""The suite's own cut: a share of the examples in the quick tier, a worker per file or group."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.tiers import FULL, QUICK, examples, first_quick, keep_together


@pytest.fixture
def profile(request: pytest.FixtureRequest) -> Iterator[None]:
    before = settings.get_current_profile_name()
    settings.load_profile(request.param)
    yield
    settings.load_profile(before)


@pytest.mark.parametrize("profile", ["full"], indirect=True)
def test_the_full_profile_takes_all_examples(profile: None) -> None:
    assert settings.default is not None
    assert settings.default.max_examples == FULL
    assert [examples(count) for count in (3, 60, 300)] == [3, 60, 300]


@pytest.mark.parametrize("profile", ["quick"], indirect=True)
def test_the_quick_profile_takes_a_share_and_never_none(profile: None) -> None:
    assert [examples(count) for count in (3, 12, 60, 300)] == [3, 5, 15, 300 * QUICK // FULL]


def test_the_first_cases_are_quick_the_others_slow() -> None:
    marked = first_quick([(1, "a"), (2, "b"), (3, "c")], 2)
    assert [case.values for case in marked] == [(1, "a"), (2, "b"), (3, "c")]
    assert [[mark.name for mark in case.marks] for case in marked] == [[], [], ["slow"]]
    assert [case.values for case in first_quick("xy")] == [("x",), ("y",)]


class Collected:
    """As much of a collected test as the grouping looks at."""

    def __init__(self, path: str, group: str | None = None) -> None:
        self.path = Path(path)
        self.groups = [] if group is None else [group]

    def get_closest_marker(self, name: str) -> str | None:
        assert name == "xdist_group"
        return self.groups[0] if self.groups else None

    def add_marker(self, marker: pytest.MarkDecorator) -> None:
        self.groups += marker.args


def test_a_file_is_one_group_and_a_named_group_stays() -> None:
    tests = [
        Collected("a/test_x.py"),
        Collected("a/test_x.py"),
        Collected("a/test_x.py", "clock"),
        Collected("b/test_x.py"),
    ]
    keep_together(tests)  # type: ignore[arg-type]
    first, second, named, other = (test.groups for test in tests)
    assert first == second
    assert named == ["clock"]
    assert len(first) == len(other) == 1
    assert first != other
