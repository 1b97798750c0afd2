"""Growth is measured as it is, and the page says what the record does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.scaling.__main__ import curve_of
from benchmarks.scaling.curve import Curve, Point, ScalingRecord, slope
from benchmarks.scaling.measured import measured
from benchmarks.scaling.page import PAGE, RECORD, page_files
from benchmarks.scaling.works import SIZES, works

ROOT = Path(__file__).resolve().parents[3]
MIB = 1 << 20


@pytest.fixture(autouse=True)
def few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.scaling.measured.MOST_CALLS", 1)


def test_the_slope_of_a_power_law_is_its_power() -> None:
    sizes = [10, 20, 40, 80]
    assert slope(sizes, [3.0 * size**1.7 for size in sizes]) == pytest.approx(1.7)


def test_memory_is_that_of_the_largest_moment_and_goes_back_in_between() -> None:
    def lay_out(size: int) -> object:
        kept = np.ones(size * MIB, dtype=np.uint8)
        return lambda: int(np.concatenate([kept, kept]).sum())

    large, small = (measured(size, lay_out) for size in (64, 8))  # type: ignore[arg-type]
    assert 150 < large.mib < 260
    assert small.mib < 60
    assert large.seconds > small.seconds > 0


@pytest.mark.parametrize("along", ["items", "users", "window"])
def test_works_are_called_at_the_sizes_they_are_asked_for(along: str, tmp_path: Path) -> None:
    own = [work for work in works(tmp_path) if work.along == along]
    assert len(own) >= 2
    for work in own:
        if work.name == "encoding a request":  # exports a network, which takes long
            continue
        curve = curve_of(work, (12, 24))
        assert [point.size for point in curve.points] == [12, 24]
        assert all(point.seconds > 0 for point in curve.points)


def test_sizes_grow_at_least_eightfold_in_at_least_four_points() -> None:
    for sizes in SIZES.values():
        assert sizes == tuple(sorted(sizes))
        assert len(sizes) >= 4
        assert sizes[-1] >= 8 * sizes[0]


def test_a_curve_tells_the_end_apart_from_the_whole() -> None:
    points = [(100, 1.0), (200, 1.0), (400, 1.0), (800, 2.0)]
    curve = Curve(
        along="items",
        work="w",
        told="t",
        points=tuple(Point(size=n, seconds=s, mib=0.0) for n, s in points),
    )
    assert curve.last_exponent == pytest.approx(1.0)
    assert 0.1 < curve.exponent < 0.5
    assert np.isnan(curve.memory_exponent)


def test_the_page_and_its_charts_are_made_of_the_committed_record(tmp_path: Path) -> None:
    record = ScalingRecord.model_validate_json((ROOT / RECORD).read_text())
    assert [(c.along, c.work) for c in record.curves] == [
        (work.along, work.name) for work in works(tmp_path)
    ]
    for name, text in page_files(record).items():
        assert (ROOT / name).read_text() == text, f"{name}: python -m benchmarks.scaling --page"
    page = (ROOT / PAGE).read_text()
    for curve in record.curves:
        assert f"| {curve.work} |" in page
        assert f"{curve.last_exponent:.2f}" in page
