"""What studies score is what ships: the twin and the device, rank by rank.

``training.twin`` ranks thousands of requests at once with torch; a device ranks one, with the
graphs of an exported bundle. Both see the same snapshots here.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from pydantic import ValidationError

from cloud_service.embedding.hashing import HashingEmbedder
from device_runtime.state.cues import CUES
from experiments.studies.scalrec.dense_ranks import DenseRanks
from loadtest.evaluation.evaluation_models import EvaluationModels
from loadtest.evaluation.paper import run_paper
from scalrec.settings import Settings, load_settings
from shared.bundle import Bundle
from shared.interactions import InteractionLog
from shared.profile import SHORTLIST, DeviceProfile, preset
from tests.support.logs import drifting_log
from tests.support.twins import (
    GAMMA_MAX,
    Answered,
    ExportedOnce,
    Floats,
    GivenSnapshots,
    Parts,
    Policy,
    ShippedDevices,
    judging_by_words,
    noticeable,
    reading,
    studied,
    study_ranks,
    with_parts,
)
from training.calibration.fit import FittedCalibration
from training.calibration.networks import CONTEXT_INPUTS, PAPER_INPUTS, WORDS_INPUT
from training.calibration.pairs import Pairs
from training.export.export import export_bundle
from training.pools import WANTED
from training.train import train
from training.trained import TrainedModel

GAPS = (0, 1, 5, 12)
CANDIDATES, LOCAL = 15, 12
SCORERS = {
    "student": "rank_structure",
    "stale": "rank_uncalibrated",
    "calibrated": "rank_calibrated",
}
VARIANTS = {
    "context": {},
    "paper": {"proposal": "paper", "gate": False, "ignored_cues": ("elapsed", "turn", "moved")},
    "gate alone": {"residual": False},
    "context without gate": {"gate": False},
}
PARTS = {
    "all": Parts(vectors=True, counts=True, words=True),
    "none": Parts(),
    "vectors": Parts(vectors=True),
    "counts": Parts(counts=True),
    "words": Parts(words=True),
    "words unread": Parts(vectors=True, counts=True, words=True, read=False),
    "words judged": Parts(vectors=True, counts=True, words=True, judged=True),
}
# Small enough that what a device keeps of its items is less than what it had.
LIMITS = {
    "tiny": {"window": 6, "met_items": 8, "starter_items": 13},
    "forgetful": {"window": 6, "met_items": 8, "starter_items": 13, "retain": "window"},
    "small": {"window": 6, "local_candidates": LOCAL},
    "listing": {"window": 6, "local_candidates": 0},
    "full": {"window": 6, "local_candidates": LOCAL, "retain": "window"},
}
PRESET = {"forgetful": "tiny", "listing": "small"}
PROFILES = {
    name: preset(PRESET.get(name, name)).model_copy(update=limits)
    for name, limits in LIMITS.items()
}
SETTINGS = ("S1", "S2", "S2_history", "S2_local", "device", "alone")


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
    *(("context", "all", name) for name in LOGS),
    *((variant, "all", "breaks") for variant in VARIANTS if variant != "context"),
    *(("context", parts, "breaks") for parts in PARTS if parts != "all"),
]


def settings_of(folder: Path, variant: str, profile: DeviceProfile) -> Settings:
    return load_settings(
        work_dir=folder / "runs",
        cache=folder / "cache",
        profile=profile.model_dump(),
        cloud={"candidates": CANDIDATES},
        paper={"gaps": GAPS, "steps": 3},
        training={
            "dim": 16, "layers": 1, "epochs": 1, "restart_epochs": 0, "test_steps": 3,
            "validation_steps": 1, "calibration_steps": 2, "abstracts_per_user": 6,
            "semantic_epochs": 1, "calibration_epochs": 1, "top_l": 8, "threads": 1,
        }
        | VARIANTS[variant],
    )  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A study, the bundle of what it studies, and the study's ranks."""

    study: DenseRanks
    bundle: Bundle
    devices: ShippedDevices
    expected: dict[tuple[str, int, str], Floats]


class Cases:
    """Models are trained on the log with breaks and on the one without times; the other logs have
    the same items, so that few networks need to be trained and exported."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._trained: dict[tuple[str, bool], TrainedModel] = {}
        self._read: dict[tuple[str, bool, bool], FittedCalibration] = {}
        self._cases: dict[tuple[str, str, str, str, Policy], Case] = {}

    def of(self, profile: str, variant: str, parts: str, log_name: str, policy: Policy) -> Case:
        key = (profile, variant, parts, log_name, policy)
        if key not in self._cases:
            settings = settings_of(self._folder, variant, PROFILES[profile])
            log, held = LOGS[log_name], PARTS[parts]
            has_time = log.time is not None
            model = self._model(variant, has_time=has_time)
            calibration = self._reading(variant, has_time=has_time, words=held.words and held.read)
            if held.judged:
                calibration = judging_by_words(calibration)
            trained = dataclasses.replace(
                with_parts(model, held, calibration), log=log, repeat_policy=policy
            )
            study = studied(settings, trained)
            where = self._folder / "-".join(key)
            bundle = export_bundle(trained, where, settings, created="2024", version="1")
            self._cases[key] = Case(
                study, bundle, ShippedDevices(study, bundle), study_ranks(study)
            )
        return self._cases[key]

    def _reading(self, variant: str, *, has_time: bool, words: bool) -> FittedCalibration:
        """One network for each of them, so that it is exported once."""
        key = (variant, has_time, words)
        if key not in self._read:
            inputs: tuple[str, ...] = PAPER_INPUTS
            if VARIANTS[variant].get("proposal") != "paper":
                inputs = (*CONTEXT_INPUTS, WORDS_INPUT) if words else CONTEXT_INPUTS
            trained = self._model(variant, has_time=has_time)
            dim = trained.backbone.table.vectors.shape[1]
            self._read[key] = reading(trained.calibration, inputs, dim=dim)
        return self._read[key]

    def _model(self, variant: str, *, has_time: bool) -> TrainedModel:
        key = (variant, has_time)
        if key not in self._trained:
            settings = settings_of(self._folder, variant, PROFILES["small"])
            log = LOGS["breaks" if has_time else "no times"]
            trained = asyncio.run(train(settings, log, HashingEmbedder(32)))
            if variant != "context":
                plain = self._model("context", has_time=has_time)
                trained = dataclasses.replace(plain, calibration=trained.calibration)
            self._trained[key] = noticeable(trained)
        return self._trained[key]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cases]:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.export.onnx_graphs.export_graph", ExportedOnce())
        yield Cases(tmp_path_factory.mktemp("twins"))


def moved_places(ours: Floats, theirs: Floats) -> int:
    """How many ranks differ, by one place: scores a rounding apart may change places."""
    np.testing.assert_array_equal(np.isinf(ours), np.isinf(theirs))
    finite = np.isfinite(ours)
    gone = np.abs(ours[finite] - theirs[finite])
    assert (gone <= 1).all()
    return int(np.count_nonzero(gone))


@pytest.mark.parametrize(("variant", "parts", "log_name"), CASES)
def test_paper_mode_ranks_and_sees_what_the_study_does(
    variant: str, parts: str, log_name: str, cases: Cases, tmp_path: Path
) -> None:
    policy: Policy = "exclude" if log_name == "no returns" else "allow"
    case = cases.of("small", variant, parts, log_name, policy)
    study, log, trained = case.study, LOGS[log_name], case.study.trained
    expected, anchors = case.expected, study.twin.requests.anchors
    models = EvaluationModels.load(case.bundle)
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


def asked(devices: ShippedDevices, setting: str, pairs: Pairs) -> list[Answered]:
    """What shipped devices answer in a setting of the study."""
    bare = devices.limited(unite_history=False, local_candidates=0)
    match setting:
        case "S1":
            return bare.answers(pairs, k=0, listed=pairs.fresh)
        case "S2":
            return bare.answers(pairs, k=0)
        case "S2_history":
            return devices.limited(local_candidates=0).answers(pairs, k=WANTED)
        case "S2_local":
            return devices.limited(local_candidates=LOCAL).answers(pairs, k=WANTED)
        case "device":
            return devices.answers(pairs, k=WANTED)
    return devices.alone(pairs.fresh, k=WANTED)


def places_of(setting: str, profile: DeviceProfile, policy: Policy) -> float:
    """For how many places a list that a table adds to is the whole catalogue's, as in the study."""
    if profile.table == "none" or setting in ("S1", "S2"):
        return np.inf
    if setting == "alone":
        return profile.local_candidates or SHORTLIST
    if setting == "S2_local" or (setting == "device" and profile.local_candidates):
        return LOCAL
    return {"allow": np.inf, "exclude": WANTED}[policy]


def told_apart() -> list[object]:
    """Settings, profiles, policies and logs with all parts; then each part alone."""
    quick = [
        (setting, name, policy, log_name, "all")
        for setting, name, policy, log_name in product(
            SETTINGS, PROFILES, ("allow", "exclude"), ("breaks", "no times")
        )
    ]
    alone = product(SETTINGS, ("tiny", "small"), ("allow",), ("breaks",), PARTS)
    return [*quick, *(case for case in alone if case[-1] != "all")]


@pytest.mark.parametrize(("setting", "name", "policy", "log_name", "parts"), told_apart())
def test_the_twin_ranks_as_the_device(
    setting: str, name: str, policy: Policy, log_name: str, parts: str, cases: Cases
) -> None:
    case, profile = cases.of(name, "context", parts, log_name, policy), PROFILES[name]
    twin, expected = case.study.twin, case.expected
    if setting == "S2_local" and profile.table == "none":
        assert not any(key[0] == "S2_local" for key in expected)
        with pytest.raises(ValidationError, match="needs an item table"):
            DeviceProfile.model_validate(profile.model_dump() | {"local_candidates": LOCAL})
        return
    exact = places_of(setting, profile, policy)
    shipped = "S2_local" if profile.local_candidates else "S2_history"
    differ = ranked = found = 0
    for report in case.study.reports:
        places = np.arange(report.gap % 3, len(report.pairs), 3)  # one request of every user
        pairs = report.pairs[places]
        said = asked(case.devices, setting, pairs)
        scorers = ("student",) if setting == "alone" else SCORERS
        wanted = {n: [expected[setting, report.gap, n][places]] for n in scorers}
        if setting == "alone":
            assert np.isnan([a.omega for a in said]).all()
            wanted["student"].append(twin.ranks_alone()["expected"][pairs.fresh])
        else:
            inputs = twin.inputs(pairs, listed=pairs.fresh if setting == "S1" else None)
            trusted, r = twin.trusted(inputs)
            omega = inputs.cues[:, CUES.index("omega")].numpy()
            np.testing.assert_allclose([a.omega for a in said], omega, atol=2e-5)
            np.testing.assert_allclose([a.r for a in said], r.numpy(), atol=2e-5)
            if np.isfinite(exact):  # a device re-retrieves by what it ranks by, not by structure
                del wanted["student"]
            if setting in (shipped, "device"):
                stale, calibrated = twin.ranks(pairs, inputs.stale, trusted)
                wanted["stale"].append(stale["expected"])
                wanted["calibrated"].append(calibrated["expected"])
        for scorer, several in wanted.items():
            ours = np.array([getattr(a, scorer) for a in said])
            for theirs in several:
                near = np.minimum(ours, theirs) <= exact
                differ += moved_places(ours[near], theirs[near])
                ranked += len(ours)
                found += int(np.count_nonzero(near & np.isfinite(ours)))
    assert found > 10, "targets were ranked"
    assert differ <= 0.01 * ranked


def test_in_fewer_settings_ranks_are_the_same(cases: Cases) -> None:
    case, asked = cases.of("tiny", "context", "all", "breaks", "allow"), ("full", "S2")
    found = study_ranks(case.study, asked)
    assert found.keys() == {key for key in case.expected if key[0] in asked}
    for key, ranks in found.items():
        np.testing.assert_array_equal(ranks, case.expected[key])


def test_what_the_twin_is_held_to_tells_one_device_from_another(cases: Cases) -> None:
    """The devices above differ from ones that unite their window, or whatever they ever had."""
    case = cases.of("tiny", "context", "all", "breaks", "allow")
    twin, pairs = case.study.twin, case.study.reports[-1].pairs
    pools, rows = twin.pools(pairs.fresh), torch.from_numpy(pairs.fresh)
    assert pools.own is not None
    had = torch.zeros_like(pools.own)
    had[twin.requests.seen(rows)] = True
    window = pools.listed(twin.requests.history[rows])
    assert (window & ~pools.own).sum() == 0
    assert (pools.own & ~window).sum() > len(rows)
    assert (had & ~pools.own).sum() > len(rows)
    # A list that falls short is filled up from the table; without one its items stand in it.
    excluded = cases.of("listing", "context", "all", "breaks", "exclude")
    few = pairs[np.arange(0, len(pairs), 3)]
    short = [a.ranked for a in excluded.devices.answers(few, k=0)]
    filled = [a.ranked for a in excluded.devices.answers(few, k=WANTED)]
    assert min(short) < WANTED <= max(short)
    assert short != filled
    assert min(filled) > min(short)
