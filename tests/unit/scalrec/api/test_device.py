"""The device of the public API is the device that ships, told ids instead of indices."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import scalrec
from device_runtime.refresh.budgeted import Budgeted
from device_runtime.refresh.policy import EveryK, Never, RefreshState
from device_runtime.state.history import RequestContext
from loadtest.replay.item_pages import ItemPages
from shared.bundle import Bundle
from shared.errors import BundleError, ConfigError
from shared.interactions import InteractionLog
from shared.profile import PRESETS
from tests.support.bundles import make_bundle
from tests.support.devices import new_device
from tests.support.logs import drifting_log

PAST = [4, 7, 4, 9, 30]
START = 1_000_000.0


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "bundle")


def ids(bundle: Bundle, items: list[int]) -> list[str]:
    known = bundle.catalogue().ids
    return [known[item] for item in items]


@pytest.mark.parametrize("profile", ["full", "tiny"])
def test_it_answers_as_the_device_that_ships(tmp_path: Path, profile: str) -> None:
    bundle = make_bundle(tmp_path / "bundle", profile=PRESETS[profile])
    ours, theirs = scalrec.Device.load(tmp_path / "bundle", "ann"), new_device(bundle)
    pages = ItemPages(bundle) if theirs._models.table is None else None
    for place, (item, name) in enumerate(zip(PAST, ids(bundle, PAST), strict=True)):
        when = START + 3600.0 * place
        ours.observe(name, when, utc_offset_min=60)
        hour = ((when + 3600.0) / 3600.0 + 72.0) % 168.0
        theirs.observe(item, when, hour, None if pages is None else pages.page(item))
    later = START + 50_000.0
    answer = ours.recommend(5, later, utc_offset_min=60)
    hour = ((later + 3600.0) / 3600.0 + 72.0) % 168.0
    expected = theirs.request(RequestContext(later, float(np.float32(hour))), 5)
    assert (answer.source, answer.age) == ("local", -1)
    assert [r.item for r in answer] == ids(bundle, expected.items.tolist())
    np.testing.assert_array_equal(answer.response.scores, expected.scores)
    scores = [r.score for r in answer]
    assert len(answer) == 5
    assert scores == sorted(scores, reverse=True)
    titles = bundle.catalogue().titles
    assert [r.title for r in answer] == [titles[i] for i in expected.items.tolist()]


def test_the_hour_of_the_week_is_that_of_the_log() -> None:
    log: InteractionLog = drifting_log(users=3, events=4)
    assert log.time is not None
    for time, hour in zip(log.time.tolist(), log.local_hour_of_week().tolist(), strict=True):
        assert hour == pytest.approx((time / 3600.0 + 72.0) % 168.0, abs=1e-4)
        assert 0 <= hour < 168


def test_an_item_that_the_bundle_does_not_hold_is_an_event_all_the_same(bundle: Bundle) -> None:
    device = scalrec.Device.load(bundle)
    device.observe("no such item", START)
    assert (device.device.step, device.device.unknown_items) == (1, 1)
    assert len(device.recommend(3, START)) == 3
    assert repr(device) == "<Device of me, 1 events>"


def test_a_log_without_times_needs_none(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "timeless", has_time=False)
    device = scalrec.Device.load(bundle)
    device.observe(ids(bundle, [3])[0])
    assert np.isnan(device.device._history.events.time).all()
    assert len(device.recommend(3)) == 3


def test_devices_of_a_bundle_share_its_models_and_nothing_else(bundle: Bundle) -> None:
    ann = scalrec.Device.load(bundle, "ann", settings={"device.policy": "random"})
    bob = ann.for_user("bob")
    ann.observe(ids(bundle, [3])[0], START)
    assert bob.device.step == 0
    assert bob.device._models is ann.device._models
    assert isinstance(bob.device.policy, Budgeted)
    assert bob.device.policy is not ann.device.policy


def test_the_policy_is_that_of_the_settings_or_the_one_given(bundle: Bundle) -> None:
    settings = {"device.k": 3, "device.calibrate": False}
    device = scalrec.Device.load(bundle, settings=settings)
    assert device.device.policy == EveryK(3)
    assert not device.device.calibrate
    assert scalrec.Device.load(bundle, policy=Never()).device.policy == Never()


@dataclass
class AtThird:
    compares_rankings: ClassVar[bool] = False

    def wants_refresh(self, state: RefreshState) -> bool:
        return state.requests_since_attempt == 3


def test_a_refresh_brings_a_snapshot_from_the_cloud_in_this_process(bundle: Bundle) -> None:
    device = scalrec.Device.load(bundle, "ann", policy=AtThird())
    device.observe(ids(bundle, [4])[0], START)
    wanted = []
    with scalrec.Cloud.in_process(bundle) as cloud:
        for place in range(3):
            device.recommend(3, START + 60.0 * place)
            wanted.append(device.wants_refresh())
        result = device.refresh_now(cloud)
    assert wanted == [False, False, True]
    assert result is not None
    assert result.outcome == "fresh"
    device.observe(ids(bundle, [9])[0], START + 600.0)
    answer = device.recommend(3, START + 700.0)
    assert (answer.source, answer.age) == ("snapshot", 1)


async def test_the_same_inside_a_loop_and_for_several_users(bundle: Bundle) -> None:
    ann = scalrec.Device.load(bundle, "ann")
    devices = [ann, ann.for_user("bob")]
    async with scalrec.Cloud.in_process(bundle) as cloud:
        found = await asyncio.gather(*(device.refresh(cloud) for device in devices))
    assert [result.outcome for result in found if result] == ["fresh", "fresh"]
    assert [device.device.snapshot.snapshot.user for device in devices] == ["ann", "bob"]  # type: ignore[union-attr]


async def test_a_loop_that_runs_is_told_to_await(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match=r"`await device\.refresh"):
        scalrec.Cloud.in_process(bundle).__enter__()


def test_a_closed_cloud_is_refused(bundle: Bundle) -> None:
    cloud, device = scalrec.Cloud.in_process(bundle), scalrec.Device.load(bundle)
    with pytest.raises(ConfigError, match="plain `with`"):
        device.refresh_now(cloud)
    with cloud:
        pass
    with pytest.raises(ConfigError, match="the cloud is not open"):
        asyncio.run(device.refresh(cloud))
    with cloud:  # it can be opened anew
        assert device.refresh_now(cloud)


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle at"):
        scalrec.Device.load(tmp_path / "none")
