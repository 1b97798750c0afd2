"""What one request or refresh adds to a bin, and that bins add up."""

import math

import pytest

from loadtest.dashboard.bins import Bin, age_label, bin_width_s, ndcg_of
from shared.metrics import Rank, as_ranks, ndcg
from tests.support.live_records import refresh, request

RANKS = [(1.0, 1), (1.5, 2), (9.0, 1), (10.0, 1), (10.5, 4), (6.0, 11), (400.0, 799), (math.inf, 1)]


@pytest.mark.parametrize("rank", RANKS)
def test_ndcg_is_that_of_the_metrics(rank: tuple[float, int]) -> None:
    assert ndcg_of(Rank(*rank)) == pytest.approx(float(ndcg(as_ranks(*rank), 10)))


def test_a_request_is_counted_once_everywhere() -> None:
    one = Bin()
    one.request(request(), calibrating=True)
    one.request(request(source="local", delta=-1, snapshot_age_s=math.nan, breaker="open",
                        cloud_up=False), calibrating=True)  # fmt: skip
    assert (one.requests, one.from_snapshot, one.up, one.down) == (2, 1, 1, 1)
    assert one.breakers == {"closed": 1, "open": 1}
    assert one.age_events == {"1-2": 1, "none": 1}
    assert one.age_s.count == 1
    assert one.latency_ms.count == one.service_ms.count == 2
    assert one.corrected.requests == 2
    assert one.corrected.calibrated == pytest.approx(2.0)
    assert one.corrected.uncalibrated == pytest.approx(1.0)
    assert one.corrected.alone == 0.0


def test_without_calibration_there_is_no_calibrated_score() -> None:
    one = Bin()
    one.request(request(), calibrating=False)
    assert one.corrected.requests == 0
    assert (one.face_value.requests, one.face_value.calibrated) == (1, 0.0)
    assert one.face_value.uncalibrated == pytest.approx(0.5)


def test_a_refresh_the_breaker_stopped_has_no_latency() -> None:
    one = Bin()
    one.refresh(refresh())
    one.refresh(refresh(outcome="breaker", attempts=0, latency_ms=0.01))
    one.refresh(refresh(outcome="network", attempts=3, latency_ms=800.0))
    assert one.refreshes == {"fresh": 1, "breaker": 1, "network": 1}
    assert one.calls == 4
    assert one.refresh_ms.count == 2


def test_bins_add_up_and_copies_stay() -> None:
    a, b, both = Bin(), Bin(), Bin()
    for i in range(20):
        record = request(rank=1.0 + i, delta=i - 1, latency_scheduled_ms=0.5 * i)
        (a if i % 3 else b).request(record, calibrating=i % 2 == 0)
        both.request(record, calibrating=i % 2 == 0)
    b.refresh(refresh())
    both.refresh(refresh())
    total = a.copy()
    total.merge(b)
    assert total.latency_ms == both.latency_ms
    assert total.age_events == both.age_events
    assert total.corrected.calibrated == pytest.approx(both.corrected.calibrated)
    assert total.refreshes == both.refreshes
    before = a.requests
    total.request(request(), calibrating=True)
    assert a.requests == before


def test_ages_and_widths() -> None:
    assert [age_label(d) for d in (-1, 0, 1, 2, 3, 5, 6, 10, 11, 500)] == [
        "none", "0", "1-2", "1-2", "3-5", "3-5", "6-10", "6-10", "11+", "11+"
    ]  # fmt: skip
    assert bin_width_s(90) == 1.0
    assert bin_width_s(0) == 1.0
    assert 3600 / bin_width_s(3600) <= 240
