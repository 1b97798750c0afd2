import math

import pytest

from device_runtime.cloud.link import CloudLink
from device_runtime.cloud.transport import TransportError
from device_runtime.refresh.policy import RefreshState, TimeToLive
from device_runtime.settings import LinkSettings
from tests.support.bundles import make_bundle
from tests.support.devices import CONTEXT, FakeCloud, ManualClock, new_device, observe
from tests.support.transports import ScriptedTransport


def state(
    age_s: float, since_attempt_s: float, *, has_snapshot: bool = True, in_flight: bool = False
) -> RefreshState:
    return RefreshState(
        requests_since_attempt=1,
        has_snapshot=has_snapshot,
        in_flight=in_flight,
        delta=3,
        omega=0.5,
        drift=0.1,
        r=0.9,
        age_s=age_s,
        since_attempt_s=since_attempt_s,
    )


def test_it_asks_once_the_snapshot_is_old_enough() -> None:
    policy = TimeToLive(30.0)
    asked = [policy.wants_refresh(state(age, math.inf)) for age in (0.0, 29.9, 30.0, 31.0)]
    assert asked == [False, False, True, True]


def test_an_attempt_that_brought_nothing_younger_is_not_repeated_at_once() -> None:
    policy = TimeToLive(30.0)
    assert not policy.wants_refresh(state(500.0, 29.0))
    assert policy.wants_refresh(state(500.0, 30.0))


def test_without_a_snapshot_it_asks_but_never_twice() -> None:
    policy = TimeToLive(30.0)
    assert policy.wants_refresh(state(math.nan, 0.0, has_snapshot=False))
    assert not policy.wants_refresh(state(math.nan, 0.0, has_snapshot=False, in_flight=True))
    assert not policy.wants_refresh(state(99.0, 99.0, in_flight=True))


def test_a_time_to_live_is_above_zero() -> None:
    for wrong in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="above 0"):
            TimeToLive(wrong)


async def test_a_device_measures_both_ages_by_its_own_clock(tmp_path) -> None:
    bundle, clock = make_bundle(tmp_path / "bundle"), ManualClock()
    device = new_device(bundle, policy=TimeToLive(30.0), clock=clock)
    observe(device, [1, 2, 3])

    async def refresh(answer: object) -> None:
        transport = ScriptedTransport([answer])
        await device.refresh(CloudLink(transport, LinkSettings(attempts=1), clock), CONTEXT)

    await refresh(FakeCloud(bundle))
    asked = []
    for now in (0.0, 29.0, 30.0, 31.0, 59.0, 60.0):
        clock.now = now
        device.request(CONTEXT)
        asked.append(device.wants_refresh())
        if now == 30.0:
            await refresh(TransportError("down"))
    assert asked == [False, False, True, False, False, True]
