import math

import numpy as np
import pytest

from device_runtime.cloud.link import CloudLink
from device_runtime.cloud.snapshot_cache import DiskSnapshotCache, MemorySnapshotCache
from device_runtime.cloud.transport import TransportError, TransportResponse
from device_runtime.refresh.policy import EveryK
from device_runtime.settings import LinkSettings
from device_runtime.state.cached_snapshot import CachedSnapshot, CacheKey
from device_runtime.state.history import RequestContext
from loadtest.replay.item_pages import ItemPages
from shared.profile import PRESETS
from shared.snapshot import Snapshot, encode
from tests.support.bundles import make_bundle
from tests.support.devices import (
    CONTEXT,
    FakeCloud,
    ManualClock,
    new_device,
    observe,
    snapshot_of,
    with_profile,
)
from tests.support.transports import ScriptedTransport


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "b")


@pytest.fixture(scope="module")
def no_repeats(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "b", repeat_policy="exclude")


def link_to(*answers) -> CloudLink:
    return CloudLink(ScriptedTransport(answers), LinkSettings(attempts=1, breaker_failures=1000))


def answer(snapshot: Snapshot, **headers: str) -> TransportResponse:
    return TransportResponse(200, headers, encode(snapshot))


async def test_without_history_the_answer_is_popularity(bundle):
    response = new_device(bundle).request(CONTEXT, k=5)
    popularity = bundle.array("item_popularity.npy")
    best = sorted(range(50), key=lambda i: (-popularity[i], i))[:5]
    assert response.items.tolist() == best
    assert response.source == "local"
    assert response.diagnostics.delta == -1
    assert math.isnan(response.diagnostics.r)


async def test_without_snapshot_own_history_and_the_table_are_ranked_by_structure(bundle):
    device = new_device(bundle)
    observe(device, [4, 7, 4, 9])
    response = device.request(CONTEXT)
    assert response.source == "local"
    assert response.candidates.tolist() == list(range(50))
    assert response.scores is response.structural
    assert response.step == 4


async def test_the_users_own_id_is_cut_from_a_query(bundle):
    cloud = FakeCloud(bundle)
    device = new_device(bundle, user="ann")
    context = RequestContext(None, 0.0, "This is Ann, annoyed: a comedy please")
    await device.refresh(link_to(cloud), context)
    assert cloud.asked[0].abstract.endswith("Asks: This is , annoyed: a comedy please")


async def test_a_refresh_brings_a_snapshot_that_the_next_request_uses(bundle):
    cloud = FakeCloud(bundle)
    clock = ManualClock(100.0)
    device = new_device(bundle, clock=clock)
    observe(device, [4, 7, 4])
    result = await device.refresh(link_to(cloud), CONTEXT)
    assert result.outcome == "fresh"
    assert cloud.asked[0].step == 3
    assert cloud.asked[0].bundle_id == bundle.id
    assert "Title 4" in cloud.asked[0].abstract
    observe(device, [9, 11])
    clock.now = 130.0
    response = device.request(CONTEXT)
    diagnostics = response.diagnostics
    assert response.source == "snapshot"
    assert (diagnostics.delta, diagnostics.snapshot_tau) == (2, 3)
    assert diagnostics.snapshot_age_s == 30.0
    assert diagnostics.snapshot_version == device.snapshot.snapshot.version
    assert diagnostics.drift > 0.0
    assert -1.0 <= diagnostics.omega <= 1.0
    assert diagnostics.alpha == 1.0 - diagnostics.r
    radius = bundle.manifest.calibration.gamma_max * diagnostics.alpha
    assert 0.0 < diagnostics.de_norm <= radius * (1 + 1e-6)
    assert {4, 7, 9, 11} <= set(response.candidates.tolist()), "united with the own history"
    assert not np.array_equal(response.scores, response.uncalibrated)


@pytest.mark.parametrize("profile", ["tiny", "small", "full"])
async def test_without_cloud_is_what_a_device_without_any_snapshot_answers(tmp_path, profile):
    # So few starter items that a device without any cloud lacks some of the snapshot's.
    few = PRESETS[profile].model_copy(update={"starter_items": 5})
    bundle = make_bundle(tmp_path / "b", profile=few)
    pages = ItemPages(bundle)
    with_cloud, alone = new_device(bundle), new_device(bundle)
    for device in (with_cloud, alone):
        observe(device, [4, 7, 4], pages=pages)
    await with_cloud.refresh(link_to(FakeCloud(bundle)), CONTEXT)
    for device in (with_cloud, alone):
        observe(device, [9, 11], pages=pages)
    answered, expected = with_cloud.request(CONTEXT), alone.request(CONTEXT)
    assert answered.source == "snapshot"
    ranking = with_cloud.without_cloud(answered)
    np.testing.assert_array_equal(ranking.items, expected.candidates)
    np.testing.assert_array_equal(ranking.scores, expected.scores)
    assert len(ranking.items) != len(answered.candidates) or profile != "tiny"
    again = with_cloud.request(CONTEXT)
    np.testing.assert_array_equal(again.scores, answered.scores)


async def test_calibration_can_be_turned_off_and_the_cues_stay(bundle):
    device = new_device(bundle, calibrate=False)
    observe(device, [4, 7, 4])
    await device.refresh(link_to(FakeCloud(bundle)), CONTEXT)
    response = device.request(CONTEXT)
    np.testing.assert_array_equal(response.scores, response.uncalibrated)
    assert response.diagnostics.de_norm == 0.0
    assert 0.0 < response.diagnostics.r < 1.0


async def test_events_that_happen_while_the_cloud_computes_keep_delta_true(bundle):
    device = new_device(bundle)
    observe(device, [1, 2, 3])
    cloud = FakeCloud(bundle)

    def busy(sent):
        observe(device, [5, 6])
        return cloud(sent)

    await device.refresh(link_to(busy), CONTEXT)
    assert device.request(CONTEXT).diagnostics.delta == 2


async def test_drift_is_measured_from_the_step_the_snapshot_was_asked_at(bundle):
    device = new_device(bundle)
    observe(device, [1, 2, 3])
    await device.refresh(link_to(FakeCloud(bundle)), CONTEXT)
    assert device.request(CONTEXT).diagnostics.drift == 0.0
    device.observe(9, 20_000.0, 5.0)
    assert device.request(CONTEXT).diagnostics.drift > 0.0


async def test_an_older_stand_in_from_a_lost_answer_still_has_its_drift(bundle):
    """The cloud computed step 2, its answer was lost; at step 4 it can only repeat it."""
    device = new_device(bundle)
    observe(device, [1, 2])
    assert (await device.refresh(link_to(TransportError("lost")), CONTEXT)).outcome == "network"
    observe(device, [3, 4])
    stale = answer(snapshot_of(bundle, tau=2), **{"scalrec-stale": "true"})
    assert (await device.refresh(link_to(stale), CONTEXT)).outcome == "stale"
    diagnostics = device.request(CONTEXT).diagnostics
    assert diagnostics.delta == 2
    assert diagnostics.drift > 0.0


async def test_drift_is_zero_when_the_step_was_never_encoded_here(bundle):
    device = new_device(bundle)
    observe(device, [1, 2, 3, 4])
    await device.refresh(link_to(answer(snapshot_of(bundle, tau=1))), CONTEXT)
    assert device.request(CONTEXT).diagnostics.drift == 0.0


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda b: encode(snapshot_of(b, user="bob")), "another user"),
        (lambda b: encode(snapshot_of(b))[:-3], "checksum"),
        (lambda b: b"", "truncated"),
        (lambda b: b"<html>proxy error</html>", "not a format"),
        (lambda b: encode(_changed(b, bundle_id="f" * 16)), "bundle"),
        (lambda b: encode(_changed(b, e_sem=np.ones(3, np.float32))), "dims"),
        (lambda b: encode(_changed(b, e_sem=np.zeros(8, np.float32))), "zeros"),
        (lambda b: encode(_changed(b, e_sem=np.full(8, np.nan, np.float32))), "finite"),
        (lambda b: encode(_changed(b, scores=np.full(20, np.nan, np.float32))), "finite"),
        (lambda b: encode(_changed(b, items=np.full(20, 50, np.int32))), "items"),
    ],
)
async def test_an_unusable_snapshot_is_rejected_and_the_device_goes_on(bundle, make, why):
    device = new_device(bundle)
    observe(device, [1, 2, 3])
    before = device.request(CONTEXT)
    result = await device.refresh(link_to(TransportResponse(200, {}, make(bundle))), CONTEXT)
    assert result.outcome == "rejected"
    assert why in result.detail
    assert result.blob is None
    after = device.request(CONTEXT)
    np.testing.assert_array_equal(before.scores, after.scores)
    assert after.source == "local"


def _changed(bundle, **fields):
    s = snapshot_of(bundle)
    values = {name: getattr(s, name) for name in Snapshot.__slots__} | fields
    return Snapshot(**values)


async def test_an_older_snapshot_never_replaces_a_newer_one(bundle):
    device = new_device(bundle)
    observe(device, [1, 2, 3])
    await device.refresh(link_to(answer(snapshot_of(bundle, tau=3))), CONTEXT)
    older = snapshot_of(bundle, tau=2, seed=5)
    rejected = await device.refresh(link_to(answer(older)), CONTEXT)
    stale = await device.refresh(link_to(answer(older, **{"scalrec-stale": "true"})), CONTEXT)
    again = await device.refresh(link_to(answer(snapshot_of(bundle, tau=3))), CONTEXT)
    assert [r.outcome for r in (rejected, stale, again)] == ["rejected", "stale", "fresh"]
    assert device.snapshot.snapshot.tau == 3


async def test_an_item_unknown_to_the_bundle_counts_as_a_step_and_nothing_else(bundle):
    device, twin = new_device(bundle), new_device(bundle)
    for each in (device, twin):
        observe(each, [1, 2, 3])
        await each.refresh(link_to(FakeCloud(bundle)), CONTEXT)
    device.observe(50, 4e4, 1.0)
    device.observe(-1, 4e4, 1.0)
    response, reference = device.request(CONTEXT), twin.request(CONTEXT)
    assert device.unknown_items == 2
    assert response.diagnostics.delta == 2
    np.testing.assert_array_equal(response.structural, reference.structural)


async def test_seen_items_are_not_recommended_where_repeats_are_excluded(no_repeats):
    device = new_device(no_repeats)
    seen = list(range(0, 40, 2))
    observe(device, seen)
    assert not set(seen) & set(device.request(CONTEXT, k=30).candidates.tolist())
    await device.refresh(link_to(FakeCloud(no_repeats)), CONTEXT)
    response = device.request(CONTEXT, k=30)
    assert response.source == "snapshot"
    assert not set(seen) & set(response.candidates.tolist())
    assert len(response.items) == 30, "too few candidates are filled up"


async def test_a_user_who_had_everything_gets_an_empty_answer_not_an_error(no_repeats):
    device = new_device(no_repeats)
    observe(device, list(range(50)))
    assert device.request(CONTEXT).items.tolist() == []
    await device.refresh(link_to(FakeCloud(no_repeats)), CONTEXT)
    assert device.request(CONTEXT).items.tolist() == []


async def test_without_union_only_the_clouds_candidates_are_ranked(bundle, tmp_path):
    limited = with_profile(bundle, tmp_path / "b", unite_history=False)
    device = new_device(limited)
    observe(device, list(range(12)))
    await device.refresh(link_to(FakeCloud(limited)), CONTEXT)
    response = device.request(CONTEXT)
    assert response.candidates.tolist() == sorted(device.snapshot.snapshot.items.tolist())


async def test_without_a_table_and_a_snapshot_history_and_popular_items_are_ranked(
    bundle, tmp_path
):
    tiny = with_profile(bundle, tmp_path / "b", table="none", starter_items=12)
    device = new_device(tiny)
    observe(device, [1, 2, 3], pages=ItemPages(tiny))
    popular = np.argsort(-bundle.array("item_popularity.npy"), kind="stable")[:12]
    response = device.request(CONTEXT)
    assert response.candidates.tolist() == sorted({1, 2, 3} | set(popular.tolist()))
    assert len(response.items) == 10


async def test_local_candidates_are_retrieved_beside_the_clouds(bundle, tmp_path):
    limited = with_profile(bundle, tmp_path / "b", local_candidates=50)
    device = new_device(limited)
    observe(device, [1, 2, 3])
    await device.refresh(link_to(FakeCloud(limited)), CONTEXT)
    assert device.request(CONTEXT).candidates.tolist() == list(range(50))


async def test_a_snapshot_survives_a_restart(bundle, tmp_path):
    cache = DiskSnapshotCache(tmp_path)
    device = new_device(bundle, cache=cache)
    observe(device, [1, 2, 3])
    await device.refresh(link_to(FakeCloud(bundle)), CONTEXT)
    restarted = new_device(bundle, cache=DiskSnapshotCache(tmp_path), clock=ManualClock(9.0))
    fresh_start = restarted.request(CONTEXT)
    assert fresh_start.source == "snapshot", "even before its history is told again"
    assert fresh_start.diagnostics.delta == 0
    assert fresh_start.diagnostics.snapshot_age_s == pytest.approx(9.0 - 0.001)
    observe(restarted, [1, 2, 3, 4])
    device.observe(4, 3 * 3600.0, 3.0)
    response, reference = restarted.request(CONTEXT), device.request(CONTEXT)
    np.testing.assert_array_equal(response.scores, reference.scores)
    assert response.diagnostics.drift == reference.diagnostics.drift


async def test_a_cache_that_cannot_be_read_is_no_reason_not_to_answer(bundle, tmp_path):
    cache = DiskSnapshotCache(tmp_path)
    cache.path("ann").mkdir()
    device = new_device(bundle, cache=cache)
    assert len(device.request(CONTEXT).items) == 10


async def test_every_k_counts_from_the_last_attempt(bundle):
    device = new_device(bundle, policy=EveryK(3))
    observe(device, [1, 2])
    device.request(CONTEXT)
    assert device.wants_refresh()
    await device.refresh(link_to(FakeCloud(bundle)), CONTEXT)
    asks = []
    for turn in range(8):
        device.request(CONTEXT)
        asks.append(device.wants_refresh())
        if asks[-1]:
            answers = [TransportError("down")] if turn < 4 else [FakeCloud(bundle)]
            await device.refresh(link_to(*answers), CONTEXT)
    assert asks == [False, False, True, False, False, True, False, False]


async def test_the_seen_items_of_a_forgetful_device_are_those_it_still_knows(tmp_path):
    plain = make_bundle(tmp_path / "a", window=4, repeat_policy="exclude")
    device = new_device(with_profile(plain, tmp_path / "b", retain="window"))
    observe(device, [1, 2, 3, 4])
    assert 1 not in device.request(CONTEXT).candidates
    observe(device, [2, 3, 4])
    assert 1 in device.request(CONTEXT, k=50).candidates


@pytest.mark.parametrize(
    "context",
    [
        RequestContext(None, 0.0),
        RequestContext(-1e9, float("nan")),
        RequestContext(float("nan"), float("inf")),
    ],
)
async def test_a_strange_moment_still_gets_an_answer(bundle, context):
    device = new_device(bundle)
    observe(device, [1, 2, 3])
    await device.refresh(link_to(FakeCloud(bundle)), context)
    response = device.request(context)
    assert np.isfinite(response.scores).all()
    assert len(response.items) == 10


async def test_an_encoder_that_overflows_does_not_stop_the_answer(bundle, monkeypatch):
    device = new_device(bundle)
    observe(device, [1, 2, 3])
    monkeypatch.setattr(
        device._models,
        "encode",
        lambda *_: (np.full(8, np.nan, np.float32), np.zeros(3, np.float32)),
    )
    assert len(device.request(CONTEXT).items) == 10
    await device.refresh(link_to(FakeCloud(bundle)), CONTEXT)
    response = device.request(CONTEXT)
    assert response.source == "snapshot"
    assert np.isfinite(response.scores).all()


async def test_a_memory_cache_is_shared_by_devices_of_one_process(bundle):
    cache = MemorySnapshotCache()
    await cache.store(
        CacheKey(user="ann", bundle_id=bundle.id, dim=8, n_items=50),
        CachedSnapshot(snapshot_of(bundle), None),
    )
    assert new_device(bundle, cache=cache).snapshot is not None
    assert new_device(bundle, "bob", cache=cache).snapshot is None
