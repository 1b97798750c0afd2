import pytest

from device_runtime.refresh.policy import Always, EveryK, Never, RefreshState


def state(requests: int, *, has_snapshot: bool = True, in_flight: bool = False) -> RefreshState:
    return RefreshState(
        requests_since_attempt=requests,
        has_snapshot=has_snapshot,
        in_flight=in_flight,
        delta=3,
        omega=0.5,
        drift=0.1,
        r=0.9,
    )


def test_every_k_asks_after_k_requests():
    policy = EveryK(3)
    assert [policy.wants_refresh(state(n)) for n in range(6)] == [False] * 3 + [True] * 3


def test_every_k_asks_at_once_without_a_snapshot_but_never_twice():
    assert EveryK(3).wants_refresh(state(0, has_snapshot=False))
    assert not EveryK(3).wants_refresh(state(9, has_snapshot=False, in_flight=True))
    assert not EveryK(3).wants_refresh(state(9, in_flight=True))


def test_never_never_asks():
    assert not Never().wants_refresh(state(10_000, has_snapshot=False))


def test_always_asks_unless_it_is_asking():
    assert Always().wants_refresh(state(1))
    assert Always().wants_refresh(state(1, has_snapshot=False))
    assert not Always().wants_refresh(state(1, in_flight=True))


def test_every_k_needs_a_k():
    with pytest.raises(ValueError, match="at least 1"):
        EveryK(0)
