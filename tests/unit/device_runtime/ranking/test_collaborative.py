"""Collaborative inference on a device, against equations 8-10 written out."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from device_runtime.cloud.link import CloudLink
from device_runtime.cloud.snapshot_cache import MemorySnapshotCache
from device_runtime.cloud.transport import TransportResponse
from device_runtime.device import Device
from device_runtime.ranking.list_fusion import unlisted
from device_runtime.ranking.response import Response
from device_runtime.refresh.names import collaboration, make_policy, ranking_text
from device_runtime.settings import DeviceSettings, LinkSettings
from device_runtime.state.cached_snapshot import CachedSnapshot
from device_runtime.state.features import time_features
from device_runtime.state.history import Window
from loadtest.evaluation.evaluation_models import EvaluationModels
from loadtest.replay.item_pages import ItemPages
from shared.bundle import Bundle, CollaborationSpec
from shared.profile import DeviceProfile
from shared.snapshot import Snapshot, encode
from tests.support.bundles import make_bundle
from tests.support.devices import CONTEXT, new_device, observe, snapshot_of
from tests.support.transports import ScriptedTransport

N_ITEMS, WINDOW = 40, 6
HISTORY = [3, 8, 3, 21, 5, 30]


@pytest.fixture(scope="module", params=["allow", "exclude"])
def policy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=["float32", "int8", "none"])
def bundle(
    request: pytest.FixtureRequest, policy: str, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    return bundle_of(tmp_path_factory.mktemp("b") / "b", policy, table=request.param)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundle_of(tmp_path_factory.mktemp("b") / "b", "allow")


def bundle_of(path: Path, policy: str, **limits: object) -> Bundle:
    profile = DeviceProfile.model_validate({"window": WINDOW, "starter_items": 12} | limits)
    return make_bundle(path, n_items=N_ITEMS, repeat_policy=policy, profile=profile)


def listed(bundle: Bundle, items: list[int], scores: list[float], tau: int = 3) -> Snapshot:
    """A snapshot with this list, as a generator would write it: scores unrelated to e_sem."""
    packed = None
    if bundle.manifest.profile.vectors_in_snapshot:
        packed = ItemPages(bundle).packed.take(np.array(items, np.int32))
    return dataclasses.replace(
        snapshot_of(bundle, tau=tau),
        items=np.array(items, np.int32),
        scores=np.array(scores, np.float32),
        vectors=packed,
    )


def device_with(bundle: Bundle, snapshot: Snapshot | None, share: float | None = 0.3) -> Device:
    """A device that met HISTORY and holds the snapshot."""
    cache = MemorySnapshotCache()
    if snapshot is not None:
        e_str = np.zeros(bundle.manifest.dim, np.float32)
        cache._entries["ann", bundle.id] = CachedSnapshot(snapshot, e_str)
    spec = None if share is None else CollaborationSpec(initial_share=share)
    device = new_device(bundle, cache=cache, collaboration=spec)
    observe(device, HISTORY, pages=ItemPages(bundle))
    return device


def device_scores(bundle: Bundle) -> list[float]:
    """s_str of every item after HISTORY, event by event."""
    models = EvaluationModels.load(bundle)
    vectors, bias = models.table.of(models.all_items)
    items = HISTORY[-WINDOW:]
    places = range(len(HISTORY))[-WINDOW:]
    window = Window(
        np.array(items, np.int32),
        np.array([3600.0 * place for place in places]),
        np.array([float(place) for place in places], np.float32),
    )
    e_str, copy_logit = models.encode(vectors[items], time_features(window, CONTEXT, has_time=True))
    return [
        float(vectors[item].astype(float) @ e_str)
        + float(bias[item])
        + math.log1p(sum(math.exp(c) for c, j in zip(copy_logit, items, strict=True) if j == item))
        for item in range(N_ITEMS)
    ]


def by_hand(bundle: Bundle, snapshot: Snapshot, share: float, item: int) -> float:
    """P of one item by equations 8-10; what the list lacks has no initial score."""
    own = device_scores(bundle)
    initial: dict[int, float] = {}
    for candidate, score in zip(snapshot.items.tolist(), snapshot.scores.tolist(), strict=True):
        initial.setdefault(candidate, score)
    rerank = [own[candidate] for candidate in initial]
    low, high = min(rerank), max(rerank)
    p_rerank = (own[item] - low) / (high - low)
    p_init = 0.0
    if item in initial:
        worst, best = min(initial.values()), max(initial.values())
        p_init = (initial[item] - worst) / (best - worst)
    return share * p_init + (1.0 - share) * p_rerank


def score_of(response: Response, item: int) -> float:
    return float(response.scores[response.candidates.tolist().index(item)])


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_scores_and_order_are_the_equations(bundle: Bundle, policy: str, share: float) -> None:
    # 8 and 21 are own items, 11 is listed twice: it counts where it stands best.
    snapshot = listed(
        bundle, [14, 8, 2, 11, 33, 21, 11, 19, 27], [-1, -1.5, -2, -2.2, -4, -4, -5, -5, -9]
    )
    response = device_with(bundle, snapshot, share).request(CONTEXT, k=6)
    own, theirs = set(HISTORY), set(snapshot.items.tolist())
    assert set(response.candidates.tolist()) == (
        theirs | own if policy == "allow" else theirs - own
    )
    expected = [by_hand(bundle, snapshot, share, item) for item in response.candidates.tolist()]
    np.testing.assert_allclose(response.scores, expected, atol=2e-5)
    assert response.scores.dtype == np.float32
    assert response.uncalibrated is response.scores
    best = np.argsort(-response.scores, kind="stable")[:6]
    assert response.items.tolist() == response.candidates[best].tolist()
    structural = [device_scores(bundle)[item] for item in response.candidates.tolist()]
    np.testing.assert_allclose(response.structural, structural, atol=2e-5)


def test_what_is_listed_scores_the_same_whatever_the_profile_adds(tmp_path: Path) -> None:
    items, scores = [14, 9, 2, 11, 33, 21, 19, 27, 1, 6], np.linspace(-1, -3, 10).tolist()
    found = []
    for name, limits in {
        "bare": {"unite_history": False},
        "united": {},
        "re-retrieving": {"local_candidates": 15},
    }.items():
        bundle = bundle_of(tmp_path / name, "allow", **limits)
        response = device_with(bundle, listed(bundle, items, scores)).request(CONTEXT)
        found.append([score_of(response, item) for item in items])
        if name == "re-retrieving":
            best = np.argsort(-np.array(device_scores(bundle)), kind="stable")[:15]
            assert set(response.candidates.tolist()) == {*items, *HISTORY, *best.tolist()}
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)
    np.testing.assert_allclose(found[2], found[0], atol=1e-6)


def test_equal_initial_scores_leave_the_order_to_the_device(plain: Bundle) -> None:
    items = [14, 9, 2, 11, 33]
    response = device_with(plain, listed(plain, items, [-2.0] * 5), 0.9).request(CONTEXT)
    own = device_scores(plain)
    ours = sorted(items, key=lambda item: -score_of(response, item))
    assert ours == sorted(items, key=lambda item: -own[item])
    assert min(score_of(response, item) for item in items) == 0.0


def test_ties_are_exact_and_go_to_the_lower_item(plain: Bundle) -> None:
    """With the cloud's scores alone, what it holds equal stays equal."""
    snapshot = listed(plain, [33, 14, 2, 11], [-1.0, -2.0, -2.0, -3.0])
    response = device_with(plain, snapshot, 1.0).request(CONTEXT, k=3)
    assert score_of(response, 14) == score_of(response, 2) == 0.5
    assert response.items.tolist() == [33, 2, 14]


def test_a_device_whose_scores_are_equal_leaves_the_order_to_the_cloud() -> None:
    equal = np.full(4, 2.5, np.float32)
    np.testing.assert_array_equal(unlisted(np.array([2.5, 4.5, 0.5]), equal, 0.5), [0.0, 1.0, -1.0])
    np.testing.assert_array_equal(unlisted(np.array([1.0, 3.0]), equal[:0], 0.5), [0.5, 1.5])
    spread = np.array([1.0, 5.0], np.float32)
    np.testing.assert_array_equal(unlisted(np.array([9.0, 3.0, 0.0]), spread, 0.0), [2, 0.5, -0.25])
    assert unlisted(np.empty(0), spread, 0.5).shape == (0,)


@pytest.mark.parametrize("items", [[], [14]])
def test_a_list_too_short_is_filled_up_in_the_devices_own_order(
    bundle: Bundle, items: list[int]
) -> None:
    snapshot = listed(bundle, items, [-1.0] * len(items))
    response = device_with(bundle, snapshot).request(CONTEXT, k=10)
    assert len(response.items) == 10
    assert response.source == "snapshot"
    assert set(items) <= set(response.candidates.tolist())
    order = response.candidates[np.argsort(-response.structural, kind="stable")]
    assert response.items.tolist() == order[:10].tolist()


async def test_a_device_without_a_table_ranks_what_it_knows_and_refuses_what_it_cannot_know(
    tmp_path: Path,
) -> None:
    bundle = bundle_of(tmp_path / "b", "allow", table="none")
    items = [14, 9, 2, 11, 33, 21, 19, 27, 1, 6]
    snapshot = listed(bundle, items, np.linspace(-1, -3, 10).tolist())
    device = device_with(bundle, snapshot)
    device.observe(38, 9e4, 1.0)  # its page showed no vector
    before = device.request(CONTEXT)
    assert set(before.candidates.tolist()) == {*items, *HISTORY}
    bare = dataclasses.replace(listed(bundle, [39, 38], [-1.0, -2.0], tau=7), vectors=None)
    link = CloudLink(
        ScriptedTransport([TransportResponse(200, {}, encode(bare))]), LinkSettings(attempts=1)
    )
    result = await device.refresh(link, CONTEXT)
    assert result is not None
    assert result.outcome == "rejected"
    after = device.request(CONTEXT)
    np.testing.assert_array_equal(after.scores, before.scores)


def test_without_history_the_items_biases_stand_for_the_device(plain: Bundle) -> None:
    snapshot = listed(plain, [14, 9, 2, 11], [-1.0, -2.0, -3.0, -4.0], tau=0)
    cache = MemorySnapshotCache()
    cache._entries["ann", plain.id] = CachedSnapshot(snapshot, None)
    half = CollaborationSpec(initial_share=0.5)
    response = new_device(plain, cache=cache, collaboration=half).request(CONTEXT, k=4)
    bias = plain.array("item_bias.npy").astype(float)[snapshot.items]
    expected = 0.5 * np.array([1, 2 / 3, 1 / 3, 0]) + 0.5 * (bias - bias.min()) / np.ptp(bias)
    given = [score_of(response, item) for item in snapshot.items.tolist()]
    np.testing.assert_allclose(given, expected, atol=1e-5)
    assert math.isnan(response.diagnostics.r)


def test_without_a_snapshot_a_device_answers_as_ever(bundle: Bundle) -> None:
    collaborative, semantic = (
        device_with(bundle, None, share).request(CONTEXT) for share in (0.3, None)
    )
    assert collaborative.source == "local"
    assert collaborative.items.tolist() == semantic.items.tolist()
    np.testing.assert_array_equal(collaborative.scores, semantic.scores)


@pytest.mark.parametrize("name", ["inconsistency", "drift", "reliability", "every-k"])
def test_refresh_policies_see_what_they_saw(bundle: Bundle, name: str) -> None:
    """Cues, r and inconsistency are of the device and the list, not of how both are fused."""
    settings = DeviceSettings.model_validate({"policy": name, "budget": 0.4})
    items = [14, 9, 2, 11, 33, 20, 19, 27, 1, 6, 7, 12]
    decisions, cues = [], []
    for share in (0.3, None):
        snapshot = listed(bundle, items, np.linspace(-1, -3, 12).tolist())
        device = device_with(bundle, snapshot, share)
        device.policy = make_policy(settings, np.random.default_rng(0))
        asked = []
        for place in range(25):
            told = device.request(CONTEXT, k=5).diagnostics
            cues.append((told.delta, told.drift, told.omega, told.r, told.alpha))
            asked.append((device.wants_refresh(), device._inconsistency))
            observe(device, [place], start_s=1e5 + place, pages=ItemPages(bundle))
        decisions.append(asked)
    np.testing.assert_array_equal(cues[:25], cues[25:])
    np.testing.assert_array_equal(decisions[0], decisions[1])
    assert any(wants for wants, _ in decisions[0])


def test_nothing_is_corrected(plain: Bundle) -> None:
    told = device_with(plain, listed(plain, [14, 9], [-1.0, -2.0])).request(CONTEXT).diagnostics
    assert 0.0 < told.r < 1.0
    assert (told.de_norm, told.trust) == (0.0, 1.0)


def test_a_share_that_is_none_is_refused() -> None:
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(ValidationError):
            CollaborationSpec(initial_share=share)
        with pytest.raises(ValidationError):
            DeviceSettings(initial_share=share)


@pytest.mark.parametrize("rate", [-0.1, math.inf, math.nan])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ValidationError):
        CollaborationSpec(adaptation_rate=rate)
    with pytest.raises(ValidationError):
        DeviceSettings(adaptation_rate=rate)


def test_the_settings_name_the_ranking() -> None:
    assert ranking_text(DeviceSettings(), None) == "semantic, calibrated"
    assert ranking_text(DeviceSettings(calibrate=False), None) == "semantic, uncalibrated"
    assert collaboration(DeviceSettings(initial_share=0.25), CollaborationSpec()) is None
    with pytest.raises(ValidationError):
        DeviceSettings.model_validate({"ranking": "generative"})


def test_what_is_set_goes_before_the_bundle_and_that_before_the_default() -> None:
    def spoken(bundle: CollaborationSpec | None, **given: float) -> str:
        return ranking_text(DeviceSettings(ranking="collaborative", **given), bundle)

    chosen = CollaborationSpec(initial_share=0.4, adaptation_rate=0.3, adaptation_steps=7)
    assert spoken(None) == "collaborative, alpha = 0.1"
    assert spoken(chosen) == "collaborative, alpha = 0.4, adapting at rate 0.3"
    assert spoken(chosen, initial_share=0.0) == "collaborative, alpha = 0, adapting at rate 0.3"
    assert spoken(chosen, adaptation_rate=0.0) == "collaborative, alpha = 0.4"
    assert spoken(None, adaptation_rate=1.0) == "collaborative, alpha = 0.1, adapting at rate 1"
    settings = DeviceSettings(ranking="collaborative", initial_share=0.2)
    assert collaboration(settings, chosen) == chosen.model_copy(update={"initial_share": 0.2})


def adapting(bundle: Bundle, snapshot: Snapshot, rate: float) -> Response:
    """A device that was asked before each of its latest events, and what it answers now."""
    cache = MemorySnapshotCache()
    e_str = np.zeros(bundle.manifest.dim, np.float32)
    cache._entries["ann", bundle.id] = CachedSnapshot(snapshot, e_str)
    spec = CollaborationSpec(initial_share=0.3, adaptation_rate=rate, adaptation_transitions=4)
    device = new_device(bundle, cache=cache, collaboration=spec)
    for place, item in enumerate(HISTORY):
        device.request(CONTEXT)
        observe(device, [item], start_s=3600.0 * place, pages=ItemPages(bundle))
    return device.request(CONTEXT)


def test_re_training_moves_the_answer_and_nothing_that_policies_see(bundle: Bundle) -> None:
    # 3, 21 and 5 are met and listed: a device that learns from them raises what is like them.
    items = [14, 9, 2, 11, 33, 20, 19, 27]
    snapshot = listed(bundle, items, np.linspace(-1, -3, 8).tolist())
    still = adapting(bundle, snapshot, 0.0)
    moved = adapting(bundle, snapshot, 1.0)
    np.testing.assert_array_equal(moved.candidates, still.candidates)
    np.testing.assert_array_equal(moved.structural, still.structural)
    told, before = moved.diagnostics, still.diagnostics
    assert (told.drift, told.omega, told.r) == (before.drift, before.omega, before.r)
    assert np.abs(moved.scores - still.scores).max() > 1e-3


def test_a_rate_that_diverges_leaves_the_model_as_trained(plain: Bundle) -> None:
    snapshot = listed(plain, [14, 9, 2, 11], [-1.0, -2.0, -3.0, -4.0])
    still = adapting(plain, snapshot, 0.0)
    wild = adapting(plain, snapshot, 1e300)
    np.testing.assert_array_equal(wild.scores, still.scores)
