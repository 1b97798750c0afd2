"""The request path against a plain float64 reading of the equations, and it always answers."""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.cloud.snapshot_cache import CachedSnapshot, CacheKey, MemorySnapshotCache
from device_runtime.device import Device
from device_runtime.models import DeviceModels
from device_runtime.ranking.calibration import bounded_correction
from device_runtime.ranking.candidates import build_pool
from device_runtime.state.cues import cue_vector, sessions_by_breaks
from device_runtime.state.features import time_features
from device_runtime.state.history import RequestContext, Window
from loadtest.evaluation.evaluation_models import EvaluationModels
from loadtest.replay.item_pages import ItemPages
from shared.bundle import AgeRule
from shared.own_score import OwnCounts, TextStudentSpec
from shared.profile import DeviceProfile
from shared.snapshot import Snapshot
from tests.support.bundles import make_bundle, make_catalogue
from tests.support.tiers import examples

N_ITEMS, DIM, WINDOW = 30, 6, 5
STARTER = 12  # items that come with the models of a device without a table
LIMITS = st.fixed_dictionaries(
    {
        "unite_history": st.booleans(),
        "local_candidates": st.sampled_from([0, 0, 4, 100]),  # 0 without a table
        "retain": st.sampled_from(["all", "window"]),
    }
)
RULES = (
    AgeRule(from_delta=0),
    AgeRule(from_delta=2, weight=0.5, moved_weight=0.75, moved_correct=False),
    AgeRule(from_delta=9, weight=1.5, correct=False, moved_weight=0.0),
)
TABLES = ("float32", "int8", "none")
STUDENT = TextStudentSpec(rows=64, weight=0.7)
TEXTS = st.sampled_from([None, None, STUDENT])
WRITER = TemplateAbstract(make_catalogue(N_ITEMS))
COUNTS = st.one_of(
    st.none(),
    st.builds(
        OwnCounts,
        weight=st.sampled_from([0.0, 0.3, 2.0]),
        scale=st.sampled_from([0.5, 8.0]),
        half_life=st.sampled_from([0.7, 4.0, 200.0]),
    ),
)
# The last says whether the item's page told the device its vector.
EVENTS = st.lists(
    st.tuples(st.integers(-1, N_ITEMS), st.floats(0, 1e6), st.booleans()), max_size=25
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundles")
    made = {}
    for policy, semantics in product(("allow", "exclude"), ("shared", "own")):
        for table in TABLES:
            profile = DeviceProfile(window=WINDOW, table=table, starter_items=STARTER)
            bundle = make_bundle(
                path / policy / semantics / table,
                n_items=N_ITEMS,
                dim=DIM,
                repeat_policy=policy,
                profile=profile,
                rules=RULES,
                semantic_vectors=semantics,
                text_student=STUDENT,
            )
            rows, bias = EvaluationModels.load(bundle).table.of(np.arange(N_ITEMS, dtype=np.int32))
            made[policy, table, semantics] = Case(
                models=DeviceModels.load(bundle),
                pages=ItemPages(bundle),
                vectors=rows[:, :DIM],
                semantic=rows[:, -DIM:],
                bias=bias,
            )
    return made


@dataclass(frozen=True, kw_only=True)
class Case:
    """Models of a bundle, its item pages, and the vectors and biases devices should rank with."""

    models: DeviceModels
    pages: ItemPages
    vectors: np.ndarray
    semantic: np.ndarray
    bias: np.ndarray

    @property
    def table(self):
        return self.models.profile.table

    def page(self, item, shown):
        return self.pages.page(item) if shown else None


CASES = st.tuples(
    st.sampled_from(["allow", "exclude"]),
    st.sampled_from(TABLES),
    st.sampled_from(["shared", "own"]),
)


@st.composite
def snapshots(draw, case):
    bundle_id = case.models.bundle_id
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    items = draw(st.lists(st.integers(0, N_ITEMS - 1), max_size=N_ITEMS))  # maybe with repeats
    e_sem = rng.standard_normal(DIM).astype(np.float32)
    scores = np.zeros(len(items), dtype=np.float32)
    tau = draw(st.integers(0, 30))
    e_str = rng.standard_normal(DIM).astype(np.float32) if draw(st.booleans()) else None
    items = np.array(items, np.int32)
    packed = case.pages.packed.take(items) if case.table == "none" else None
    snapshot = Snapshot(
        user="u",
        tau=tau,
        created_ms=1,
        bundle_id=bundle_id,
        e_sem=e_sem,
        items=items,
        scores=scores,
        vectors=packed,
    )
    return CachedSnapshot(snapshot, e_str)


def device_of(models, limits, cached, counts=None, text=None):
    limited = object.__new__(DeviceModels)
    limited.__dict__.update(models.__dict__)
    if models.table is None:
        limits = limits | {"local_candidates": 0}
    limited.profile = models.profile.model_copy(update=limits)
    limited.manifest = models.manifest.model_copy(
        update={"own_counts": counts, "text_student": text}
    )
    cache = MemorySnapshotCache()
    if cached is not None:
        cache._entries["u", models.bundle_id] = cached
    return Device("u", limited, WRITER, cache=cache, digest=WRITER.digest())


@settings(max_examples=examples(200), deadline=None)
@given(st.data())
def test_scores_are_the_equations(models, data):
    policy, table, semantics = data.draw(CASES)
    case = models[policy, table, semantics]
    m = case.models
    cached = data.draw(st.one_of(st.none(), snapshots(case)))
    counts, text = data.draw(COUNTS), data.draw(TEXTS)
    device = device_of(m, data.draw(LIMITS), cached, counts, text)
    events = sorted(data.draw(EVENTS), key=lambda event: event[1])
    for item, time, shown in events:
        device.observe(item, time, time / 3600.0, case.page(item, shown))
    k = data.draw(st.integers(1, N_ITEMS + 3))
    response = device.request(RequestContext(1e6, 12.0), k)

    usable = [(i, t) for i, t, _ in events if 0 <= i < N_ITEMS]
    first = 0 if device._models.profile.retain == "all" else -WINDOW
    retained = usable[first:]
    places = [j for j, (i, _, _) in enumerate(events) if 0 <= i < N_ITEMS][first:]
    known = set(range(N_ITEMS))
    if table == "none":
        known = {i for i, _, shown in events if shown} | set(m.popular.tolist())
        known |= set() if cached is None else set(cached.snapshot.items.tolist())
    seen = {i for i, _ in retained}
    allowed = set(range(N_ITEMS)) - (seen if policy == "exclude" else set())
    candidates = response.candidates.tolist()

    # Always an answer, as long as anything may be recommended.
    assert candidates == sorted(set(candidates))
    assert set(candidates) <= allowed & known
    assert len(response.items) == min(k, len(candidates))
    assert len(response.items) >= min(k, len(allowed & set(m.popular.tolist())))
    for scores in (response.scores, response.uncalibrated, response.structural):
        assert scores.shape == (len(candidates),)
        assert np.isfinite(scores).all()
    by_score = sorted(range(len(candidates)), key=lambda j: (-response.scores[j], j))
    assert response.items.tolist() == [candidates[j] for j in by_score[:k]]
    window = [(i, t) for i, t in usable[-WINDOW:] if i in known]
    if not window:
        return

    # The structural channel, event by event.
    items = np.array([i for i, _ in window], np.int32)
    times = np.array([t for _, t in window])
    encoded = Window(items, times, (times / 3600.0 % 168).astype(np.float32))
    e_str, copy_logit = m.encode(
        case.vectors[items], time_features(encoded, RequestContext(1e6, 12.0), has_time=True)
    )
    vectors, semantic = case.vectors.astype(np.float64), case.semantic.astype(np.float64)

    digest = WRITER.digest()
    for item, time in retained:
        digest.observe(item, time / 3600.0)
    said = m.text_student(digest.words).embed(digest.sections(RequestContext(1e6, 12.0)))

    def s_own(item):
        copied = sum(
            math.exp(logit) for (j, _), logit in zip(window, copy_logit, strict=True) if j == item
        )
        score = float(vectors[item] @ e_str) + float(case.bias[item]) + math.log1p(copied)
        if text is not None:
            score += text.weight * float(semantic[item] @ said.astype(np.float64))
        if counts is None:
            return score
        ages = [len(events) - 1 - j for j in places if events[j][0] == item]
        n = sum(2.0 ** (-age / counts.half_life) for age in ages)
        return score + counts.weight * math.log1p(counts.scale * n)

    np.testing.assert_allclose(response.structural, [s_own(i) for i in candidates], atol=2e-5)
    if cached is None:
        assert response.source == "local"
        return

    # The semantic channel, cues and correction.
    d, snapshot = response.diagnostics, cached.snapshot
    assert d.delta == max(0, len(events) - snapshot.tau)
    drift = 0.0 if cached.e_str is None else np.linalg.norm(e_str - cached.e_str)
    assert d.drift == pytest.approx(drift, abs=1e-5)
    weight, e_sem = m.manifest.fusion_weight, snapshot.e_sem.astype(np.float64)
    stale = [s_own(i) + weight * float(semantic[i] @ e_sem) for i in candidates]
    np.testing.assert_allclose(response.uncalibrated, stale, atol=2e-5)
    session = sessions_by_breaks([t for _, t, _ in events] + [1e6])
    moved = d.delta > 0 and session[-1] != session[max(0, len(events) - d.delta)]
    trust, correct = m.manifest.calibration.rule_at(d.delta).at(bool(moved))
    assert d.trust == trust
    de = np.zeros(DIM)
    if correct and trust:
        met = [i for i, _ in usable[-WINDOW:]][-d.delta :] if d.delta else []
        recent = [semantic[i] for i in met if i in known]
        then = [t for _, t in retained][-min(d.delta, len(retained))] if d.delta else 1e6
        turned = (1 - math.cos((12.0 - then / 3600 % 168) * math.pi / 12)) / 2
        cues = cue_vector(
            delta=d.delta,
            drift=d.drift,
            omega=d.omega,
            length=math.log1p(len(window)),
            density=math.log1p(len(window) / (max((1e6 - window[0][1]) / 3600, 1) / 24)),
            elapsed=math.log1p((1e6 - then) / 3600),
            turn=turned if d.delta else 0.0,
            moved=bool(moved),
        )
        proposal = m.propose(
            e_sem=snapshot.e_sem,
            e_str=e_str,
            e_str_tau=cached.e_str,
            recent=np.mean(recent, axis=0, dtype=np.float32) if recent else np.zeros_like(e_str),
            cues=cues,
        )
        assert d.r == pytest.approx(m.reliability(cues), abs=1e-5)
        de = bounded_correction(proposal, d.alpha, m.manifest.calibration.gamma_max)
    assert d.de_norm == pytest.approx(float(np.linalg.norm(de)), abs=1e-4)
    corrected = e_sem + de
    fresh = [s_own(i) + trust * weight * float(semantic[i] @ corrected) for i in candidates]
    np.testing.assert_allclose(response.scores, fresh, atol=1e-4)
    unique = sorted(set(snapshot.items.tolist()))
    if len(unique) < 3:
        return
    top = sorted(unique, key=lambda i: -float(case.semantic[i] @ snapshot.e_sem))
    top = top[: m.manifest.calibration.top_l]
    structural = [s_own(i) for i in top]
    gaps = np.diff(np.sort(structural))
    if gaps.min() > 1e-4:  # else rounding decides the ranks
        expected = spearmanr([float(semantic[i] @ e_sem) for i in top], structural).statistic
        assert d.omega == pytest.approx(expected, abs=1e-9)


@settings(max_examples=examples(50), deadline=None)
@given(st.data())
def test_the_pool_is_rebuilt_whenever_it_must_be(models, data):
    """A device that answered before gives the same answer as one that did not."""
    case = models[data.draw(CASES)]
    given = (
        data.draw(LIMITS), data.draw(snapshots(case)), data.draw(COUNTS), data.draw(TEXTS)
    )  # fmt: skip
    busy, idle = device_of(case.models, *given), device_of(case.models, *given)
    for item, time, shown in data.draw(EVENTS):
        busy.observe(item, time, 0.0, case.page(item, shown))
        idle.observe(item, time, 0.0, case.page(item, shown))
        busy.request(RequestContext(time, 0.0))
    one, other = (d.request(RequestContext(2e6, 5.0)) for d in (busy, idle))
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.items, other.items)


@settings(max_examples=examples(50), deadline=None)
@given(st.data())
def test_a_snapshot_that_is_wholly_reliable_is_taken_at_face_value(models, data):
    """At alpha = 0 calibration is the identity, to the last bit, where no age rule steps in."""
    case = models[data.draw(CASES)]
    given = (data.draw(LIMITS), data.draw(snapshots(case)), data.draw(COUNTS), data.draw(TEXTS))
    device = device_of(case.models, *given)
    device._models.reliability = lambda cues, **_: 1.0
    manifest = device._models.manifest
    calibration = manifest.calibration.model_copy(update={"rules": RULES[:1]})
    device._models.manifest = manifest.model_copy(update={"calibration": calibration})
    for item, time, shown in sorted(data.draw(EVENTS), key=lambda event: event[1]):
        device.observe(item, time, time / 3600.0, case.page(item, shown))
    response = device.request(RequestContext(1e6, 12.0))
    np.testing.assert_array_equal(response.scores, response.uncalibrated)
    if not math.isnan(response.diagnostics.r):  # it has a history to judge the snapshot by
        assert (response.diagnostics.alpha, response.diagnostics.de_norm) == (0.0, 0.0)


def test_a_pool_knows_its_key(models):
    m = models["allow", "float32", "shared"].models
    pool = build_pool(m, m.item_vectors(), None, np.array([2, 5], np.int32))
    assert pool.items.tolist() == [2, 5]
    assert CacheKey(user="u", bundle_id=m.bundle_id, dim=DIM, n_items=N_ITEMS).n_items == m.n_items
