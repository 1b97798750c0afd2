import math

import numpy as np
import pytest
from numpy.typing import NDArray

from device_runtime.cloud.link import CloudLink
from device_runtime.refresh.names import make_policy
from device_runtime.refresh.policy import RefreshPolicy, RefreshState
from device_runtime.settings import DeviceSettings, LinkSettings
from device_runtime.state.cues import inconsistency
from tests.support.bundles import make_bundle
from tests.support.devices import CONTEXT, FakeCloud, new_device, observe
from tests.support.transports import ScriptedTransport


def ints(*values: int) -> NDArray[np.int32]:
    return np.array(values, dtype=np.int32)


def floats(*values: float) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


def test_the_same_order_is_consistent_and_the_reverse_is_not() -> None:
    initial, items = ints(7, 3, 9, 5), ints(3, 5, 7, 9)
    assert inconsistency(initial, items, floats(3, 1, 4, 2)) == 0.0
    assert inconsistency(initial, items, floats(2, 4, 1, 3)) == (3 + 1 + 1 + 3) / 4


def test_it_is_a_mean_over_positions() -> None:
    # 3 moves from second to first, 7 from first to second, 9 stays.
    assert inconsistency(ints(7, 3, 9), ints(3, 7, 9), floats(5, 4, 1)) == pytest.approx(2 / 3)


def test_only_cached_candidates_count_and_only_those_the_device_ranked() -> None:
    scores = floats(9.0, 1.0, 8.0, 2.0)
    # 1 and 8 are the device's own; 5 was left out of the answer; 4 > 6 as the cloud has it.
    assert inconsistency(ints(4, 5, 6, 99), ints(1, 6, 8, 4)[[0, 3, 1, 2]], scores) == 1.0
    assert inconsistency(ints(4, 6), ints(1, 4, 6, 8), floats(0, 2, 1, 9)) == 0.0
    assert math.isnan(inconsistency(ints(5), ints(1, 9), floats(1, 2)))
    assert math.isnan(inconsistency(ints(), ints(1, 9), floats(1, 2)))


def test_of_the_top_only_what_either_ranking_shows_first_counts() -> None:
    initial = np.arange(6, dtype=np.int32)
    scores = floats(9, 8, 7, 1, 2, 3)  # the first three stay, the last three turn round
    assert inconsistency(initial, initial, scores) == (2 + 0 + 2) / 6
    assert inconsistency(initial, initial, scores, top=3) == 0.0
    rising = floats(1, 2, 3, 4, 5, 9)  # 5, 4 .. 0
    assert inconsistency(initial, initial, rising, top=1) == 5.0  # 0 and 5, each five places
    assert inconsistency(initial, initial, rising, top=2) == (5 + 3 + 3 + 5) / 4
    for top in (6, 100):
        assert inconsistency(initial, initial, rising, top=top) == 3.0
    assert math.isnan(inconsistency(ints(7), initial, rising, top=3))


def test_ties_keep_the_clouds_order() -> None:
    assert inconsistency(ints(9, 2, 5), ints(2, 5, 9), floats(1, 1, 1)) == 0.0


class Spy:
    """Notes what a device tells its policy."""

    def __init__(self, policy: RefreshPolicy) -> None:
        self.compares_rankings = policy.compares_rankings
        self.seen: list[RefreshState] = []

    def wants_refresh(self, state: RefreshState) -> bool:
        self.seen.append(state)
        return False


@pytest.mark.parametrize("repeat_policy", ["allow", "exclude"])
@pytest.mark.parametrize("name", ["inconsistency", "inconsistency-top10", "reliability"])
async def test_a_device_compares_rankings_for_the_policy_that_asks(
    tmp_path, repeat_policy, name
) -> None:
    bundle = make_bundle(tmp_path / "bundle", repeat_policy=repeat_policy)
    spy = Spy(make_policy(DeviceSettings(policy=name), np.random.default_rng(0)))
    device = new_device(bundle, policy=spy)
    observe(device, [1, 2, 3])
    device.request(CONTEXT)
    device.wants_refresh()
    link = CloudLink(ScriptedTransport([FakeCloud(bundle)]), LinkSettings())
    await device.refresh(link, CONTEXT)
    response = device.request(CONTEXT)
    device.wants_refresh()
    assert device.snapshot is not None
    cached = [i for i in device.snapshot.snapshot.items.tolist() if i in response.candidates]
    own = dict(zip(response.candidates.tolist(), response.structural.tolist(), strict=True))
    reranked = sorted(cached, key=lambda item: -own[item])
    either = {*cached[:10], *reranked[:10]}
    assert len(either) < len(cached)
    first, second = spy.seen
    for among, of in (
        (cached, lambda state: state.inconsistency),
        (either, lambda state: state.inconsistency_top),
    ):
        expected = np.mean([abs(cached.index(i) - reranked.index(i)) for i in among])
        assert math.isnan(of(first))
        assert expected > 0
        compares = name.startswith("inconsistency")
        assert of(second) == pytest.approx(expected if compares else math.nan, nan_ok=True)
