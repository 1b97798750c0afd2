"""The benchmark of the text student times what it says."""

from __future__ import annotations

from benchmarks.student import compare_student
from tests.support.sections import talkative_log


def test_kept_parts_are_cheaper_than_all_words() -> None:
    (line,) = compare_student(talkative_log(), dim=8)
    assert line.unit == "µs"
    assert 0 < line.ours < line.theirs
    assert line.ratio < 0.9
