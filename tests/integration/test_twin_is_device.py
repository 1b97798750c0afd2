"""What studies score is what ships: the twin and the device, rank by rank.

``training.twin`` ranks thousands of requests at once with torch; a device ranks one, with the graphs
of an exported bundle. Both see the same snapshots here.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from pydantic import ValidationError

from cloud_service.embedding.hashing import HashingEmbedder
from device_runtime.state.cues import CUES
from loadtest.evaluation.evaluation_models import EvaluationModels
from loadtest.evaluation.paper import run_paper
from shared.bundle import Bundle
from shared.interactions import InteractionLog
from shared.profile import DeviceProfile, preset
from shared.settings import Settings, load_settings
from tests.support.logs import drifting_log
from tests.support.twins import (
    GAMMA_MAX,
    Answered,
    Floats,
    GivenSnapshots,
    Policy,
    ShippedDevices,
    noticeable,
    studied,
    study_ranks,
)
from training.export import export_bundle
from training.pairs import Pairs
from training.pipeline import train
from training.pools import WANTED
from training.study import _Study
from training.trained import TrainedModel

GAPS = (0, 1, 5, 12)
CANDIDATES, LOCAL = 15, 12
SCORERS = {
    "structure": "rank_structure",
    "stale": "rank_uncalibrated",
    "calibrated": "rank_calibrated",
}
VARIANTS = {
    "context": {},
    "paper": {"proposal": "paper", "gate": False, "ignored_cues": ("elapsed", "turn", "moved")},
    "gate alone": {"residual": False},
    "context without gate": {"gate": False},
}
# Small enough that what a device keeps of its items is less than what it had.
LIMITS = {
    "tiny": {"window": 5, "met_items": 9, "starter_items": 13},
    "small": {"window": 5},
    "full": {"window": 5, "local_candidates": LOCAL},
}
PROFILES = {name: preset(name).model_copy(update=limits) for name, limits in LIMITS.items()}
SETTINGS = ("S1", "S2", "S2_history", "S2_local", "alone")


def with_sessions(log: InteractionLog) -> InteractionLog:
    place = np.arange(len(log)) - np.repeat(log.user_start[:-1], log.counts())
    return dataclasses.replace(log, session=place // 7)


LOGS = {
    "breaks": drifting_log(users=20, events=30),
    "sessions": with_sessions(drifting_log(users=20, events=30)),
    "no times": drifting_log(users=20, events=30, has_time=False),
    "no returns": drifting_log(users=20, events=30, returns=False),
}
CASES = [
    *(("context", name) for name in LOGS),
    *((variant, "breaks") for variant in VARIANTS if variant != "context"),
]


def settings_of(folder: Path, variant: str, profile: DeviceProfile, steps: int = 3) -> Settings:
    return load_settings(
        work_dir=folder / "runs",
        cache=folder / "cache",
        profile=profile.model_dump(),
        cloud={"candidates": CANDIDATES},
        paper={"gaps": GAPS, "steps": steps},
        training={
            "dim": 16, "layers": 1, "epochs": 1, "restart_epochs": 0, "test_steps": 3,
            "validation_steps": 1, "calibration_steps": 2, "abstracts_per_user": 6,
            "semantic_epochs": 1, "calibration_epochs": 1, "top_l": 8, "threads": 1,
        }
        | VARIANTS[variant],
    )  # fmt: skip


def moved_places(ours: Floats, theirs: Floats) -> int:
    """How many ranks differ, by one place: scores a rounding apart may change places."""
    np.testing.assert_array_equal(np.isinf(ours), np.isinf(theirs))
    finite = np.isfinite(ours)
    gone = np.abs(ours[finite] - theirs[finite])
    assert (gone <= 1).all()
    return int(np.count_nonzero(gone))


@pytest.mark.parametrize(("variant", "log_name"), CASES)
def test_paper_mode_ranks_and_sees_what_the_study_does(
    variant: str, log_name: str, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    log = LOGS[log_name]
    settings = settings_of(tmp_path, variant, preset("small").model_copy(update={"window": 8}))
    trained = noticeable(asyncio.run(train(settings, log, HashingEmbedder(32))))
    study = studied(settings, trained)
    expected, anchors = study_ranks(study), study.twin.requests.anchors
    bundle = export_bundle(trained, tmp_path / "bundle", settings, created="2024", version="1")
    models = EvaluationModels.load(bundle)
    assert models.proposes_from == trained.calibration.calibrator.inputs
    steps = trained.split.last_test(3)
    rows = pl.read_parquet(  # in the order of the steps
        run_paper(tmp_path, log, steps, models, GivenSnapshots(study, models), gaps=GAPS)
    )
    differ = apart = 0
    for report in study.reports:
        gap, pairs = report.gap, report.pairs
        for setting, listed in (("S1", pairs.fresh), ("S2", pairs.stale)):
            at = rows.filter(setting=setting, gap=gap)
            inputs = study.twin.inputs(pairs, listed=listed)
            np.testing.assert_array_equal(at["user"], anchors.user[pairs.fresh])
            np.testing.assert_array_equal(at["step"], anchors.tau[pairs.fresh])
            for name in ("delta", "drift", "omega"):
                wanted = inputs.cues[:, CUES.index(name)].numpy()
                np.testing.assert_allclose(at[name], wanted, atol=2e-5, err_msg=name)
            r = study.twin.trusted(inputs)[1].numpy()
            np.testing.assert_allclose(at["r"], r, atol=2e-5)
            if setting == "S2":
                np.testing.assert_array_equal(report.r.numpy(), r)
                np.testing.assert_array_equal(report.cues.numpy(), inputs.cues.numpy())
            rule = [report.rule.at(bool(moved)) for moved in inputs.moved]
            np.testing.assert_array_equal(at["trust"], [weight for weight, _ in rule])
            corrects = np.array([correct for _, correct in rule])
            assert (at["de_norm"].to_numpy()[~corrects] == 0).all()
            assert (at["de_norm"].to_numpy()[corrects] > 0).all()
            bound = GAMMA_MAX * at["alpha"].to_numpy()
            assert (at["de_norm"].to_numpy() <= bound * (1 + 1e-6) + 1e-9).all()
            for scorer, column in SCORERS.items():
                differ += moved_places(at[column].to_numpy(), expected[setting, gap, scorer])
        omegas = (rows.filter(setting=name, gap=gap)["omega"].to_numpy() for name in ("S1", "S2"))
        apart += np.count_nonzero(np.subtract(*omegas))
    ranked = len(steps) * len(GAPS) * 2 * len(SCORERS)
    assert differ <= 0.01 * ranked
    calibrated, stale = rows["rank_calibrated"], rows["rank_uncalibrated"]
    assert (calibrated != stale).sum() > 0.05 * len(rows), "the comparison would see a difference"
    assert apart > 0.3 * len(steps) * len(GAPS), "omega is of the list that is ranked"


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A study and the bundle of what it studies, for one profile and repeat policy."""

    study: _Study
    bundle: Bundle
    profile: DeviceProfile
    policy: Policy
    expected: dict[tuple[str, int, str], Floats]

    def devices(self, **limits: object) -> ShippedDevices:
        profile = self.profile.model_copy(update=limits)
        return ShippedDevices(self.study, self.bundle, profile, self.policy)


@pytest.fixture(scope="module")
def case_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Policy, bool], Case]:
    """Cases by profile, repeat policy and whether the log has times; each trains at most once."""
    models: dict[bool, TrainedModel] = {}
    bundles: dict[tuple[str, bool], Bundle] = {}
    cases: dict[tuple[str, Policy, bool], Case] = {}

    def case(name: str, policy: Policy, has_time: bool) -> Case:
        torch.set_num_threads(1)
        folder = tmp_path_factory.getbasetemp() / f"{name}-{has_time}"
        profile = PROFILES[name]
        settings = settings_of(folder, "context", profile, steps=2)
        if has_time not in models:
            log = drifting_log(users=10, events=40, items=60, has_time=has_time)
            models[has_time] = noticeable(asyncio.run(train(settings, log, HashingEmbedder(32))))
        trained = models[has_time]
        if (name, has_time) not in bundles:
            bundles[name, has_time] = export_bundle(
                trained, folder / "bundle", settings, created="2024", version="1"
            )
        key = (name, policy, has_time)
        if key not in cases:
            study = studied(settings, dataclasses.replace(trained, repeat_policy=policy))
            bundle = bundles[name, has_time]
            cases[key] = Case(study, bundle, profile, policy, study_ranks(study))
        return cases[key]

    return case


def asked(case: Case, setting: str, pairs: Pairs) -> list[Answered]:
    """What shipped devices answer in a setting of the study."""
    bare = {"unite_history": False, "local_candidates": 0}
    match setting:
        case "S1":
            return case.devices(**bare).answers(pairs, k=0, listed=pairs.fresh)
        case "S2":
            return case.devices(**bare).answers(pairs, k=0)
        case "S2_history":
            return case.devices(local_candidates=0).answers(pairs, k=WANTED)
        case "S2_local":
            return case.devices(local_candidates=LOCAL).answers(pairs, k=WANTED)
    return case.devices().alone(pairs.fresh, k=WANTED)


@pytest.mark.parametrize("has_time", [True, False], ids=["times", "no times"])
@pytest.mark.parametrize("policy", ["allow", "exclude"])
@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_twin_ranks_as_the_device(
    setting: str,
    name: str,
    policy: Policy,
    has_time: bool,
    case_of: Callable[[str, Policy, bool], Case],
) -> None:
    case = case_of(name, policy, has_time)
    profile, twin, expected = case.profile, case.study.twin, case.expected
    if setting == "S2_local" and profile.table == "none":
        assert not any(key[0] == "S2_local" for key in expected)
        with pytest.raises(ValidationError, match="needs an item table"):
            DeviceProfile(**profile.model_dump() | {"local_candidates": LOCAL})
        return
    # As many places of a list that a table fills up are those of the whole catalogue.
    places = {"S2_local": LOCAL, "S2_history": WANTED if policy == "exclude" else np.inf}
    exact = np.inf if profile.table == "none" else places.get(setting, np.inf)
    shipped = "S2_local" if profile.local_candidates else "S2_history"
    differ = ranked = 0
    for report in case.study.reports:
        pairs = report.pairs
        said = asked(case, setting, pairs)
        scorers = {name: np.array([getattr(a, name) for a in said]) for name in SCORERS}
        if setting == "alone":
            assert np.isnan([a.omega for a in said]).all()
            wanted = {"structure": [expected["alone", report.gap, "structure"]]}
            wanted["structure"].append(twin.ranks_alone()[pairs.fresh])
        else:
            inputs = twin.inputs(pairs, listed=pairs.fresh if setting == "S1" else None)
            trusted, r = twin.trusted(inputs)
            omega = inputs.cues[:, CUES.index("omega")].numpy()
            np.testing.assert_allclose([a.omega for a in said], omega, atol=2e-5)
            np.testing.assert_allclose([a.r for a in said], r.numpy(), atol=2e-5)
            # A device re-retrieves by what it ranks by, never by structure.
            names = [n for n in SCORERS if n != "structure" or np.isinf(exact)]
            wanted = {n: [expected[setting, report.gap, n]] for n in names}
            if setting == shipped:
                stale, calibrated = twin.ranks(pairs, inputs.stale, trusted)
                wanted["stale"].append(stale)
                wanted["calibrated"].append(calibrated)
        for scorer, several in wanted.items():
            for theirs in several:
                ours = scorers[scorer]
                near = np.minimum(ours, theirs) <= exact
                differ += moved_places(ours[near], theirs[near])
                ranked += int(np.count_nonzero(near & np.isfinite(ours)))
    assert ranked > 30, "something was compared"
    assert differ <= 0.02 * ranked


def test_what_the_twin_is_held_to_tells_one_device_from_another(
    case_of: Callable[[str, Policy, bool], Case],
) -> None:
    """The devices above differ from ones that unite their window, or whatever they ever had."""
    case = case_of("tiny", "allow", True)
    twin, pairs = case.study.twin, case.study.reports[-1].pairs
    pools = twin.pools(pairs.fresh)
    assert pools.own is not None
    had = torch.zeros_like(pools.own)
    had[twin.requests.seen(torch.from_numpy(pairs.fresh))] = True
    window = pools.listed(twin.requests.history[torch.from_numpy(pairs.fresh)])
    assert (window & ~pools.own).sum() == 0
    assert (pools.own & ~window).sum() > 0
    assert (had & ~pools.own).sum() > 0
    excluded = case_of("tiny", "exclude", True)
    said = excluded.devices().answers(pairs, k=0)
    assert min(a.ranked for a in said) < WANTED <= max(a.ranked for a in said)
    filled = excluded.devices().answers(pairs, k=WANTED)
    assert [a.ranked for a in filled] != [a.ranked for a in said]
