"""The suite's own cut: a share of the examples in the quick tier, a worker per file or group."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.tiers import FULL, QUICK, TOGETHER, examples, first_quick, group_of

TESTS = Path(__file__).parents[2]


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


def test_the_first_cases_are_quick_the_others_the_rest() -> None:
    marked = first_quick([(1, "a"), (2, "b"), (3, "c")], 2)
    assert [case.values for case in marked] == [(1, "a"), (2, "b"), (3, "c")]
    assert [[mark.name for mark in case.marks] for case in marked] == [[], [], ["slow", "rest"]]
    assert [case.values for case in first_quick("xy")] == [("x",), ("y",)]


def test_a_file_is_one_group_but_for_those_that_go_together() -> None:
    here = "tests/a/test_x.py"
    one, other = group_of(f"{here}::test_a[b/c::d]"), group_of(f"{here}::test_e")
    assert one == other == here
    assert group_of("tests/b/test_x.py::test_a") != one
    assert group_of("tests/e2e/test_demo.py::test_a") == "model"
    assert group_of("tests/integration/test_launch.py::test_a") == "model"


@pytest.mark.parametrize("name", sorted(name for names in TOGETHER.values() for name in names))
def test_the_files_that_go_together_are_there(name: str) -> None:
    assert list(TESTS.rglob(name))
