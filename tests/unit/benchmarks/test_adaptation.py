"""The benchmark of adaptive re-training times what it says."""

from __future__ import annotations

from benchmarks.adaptation import compare_adaptation
from training.settings import Lsc4recSettings


def test_both_sides_are_timed() -> None:
    (line,) = compare_adaptation(8, Lsc4recSettings(lists=(5,)))
    assert line.unit == "µs"
    assert line.ours > 0
    assert line.theirs > 0
    assert line.ratio > 0
