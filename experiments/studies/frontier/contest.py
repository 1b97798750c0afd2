"""Every policy at every budget over one log's evidence, and the bounds they are seen against."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from device_runtime.refresh.names import make_fleet_budget, make_policy
from device_runtime.refresh.policy import GainModel, RefreshState
from device_runtime.settings import BUDGETED, DeviceSettings
from experiments.studies.frontier.drive import Course, Shown, drive
from experiments.studies.frontier.evidence import Evidence
from experiments.studies.frontier.interleaving import interleaved
from experiments.studies.frontier.oracle import best_of_fleet, best_with_calls
from experiments.studies.frontier.windows import LastSteps
from shared.metrics import ndcg
from shared.refresh_file import CallRates
from training.settings import FrontierSettings

FLEET = "-fleet"  # ends the name of a policy whose budget all devices share
CUTOFF = 10
INTERVALS = (3, 7, 14, 30)  # k at which every-k is measured, beside those of the budgets
_DEVICES, _SHARED = 1, 2  # streams of the seed


@dataclass(frozen=True)
class Entry:
    """One policy at one budget.

    Attributes:
        name: the policy's; with FLEET if all devices share a budget.
        budget: wanted calls per request; the realised ones may differ.
    """

    name: str
    budget: float
    course: Course


class Remembered:
    """A gain model that is asked once for every state: many drives come by the same ones."""

    def __init__(self, gain: GainModel) -> None:
        self._gain = gain
        self._known: dict[tuple[bytes, float, float], float] = {}

    def expected_gain(self, state: RefreshState) -> float:
        cues = b"" if state.cues is None else state.cues.tobytes()
        key = (cues, state.r, state.inconsistency)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._gain.expected_gain(state)
        return found


@dataclass(frozen=True, eq=False)
class Contest:
    """What all policies are driven with.

    Attributes:
        gain, known: what training knows of refreshes (see ``make_policy``); policies that need a
            gain model are left out without one.
        ttl: the time-to-live of a budget, seconds.
        seed: of the policies that draw.
    """

    evidence: Evidence
    windows: LastSteps
    settings: FrontierSettings
    gain: GainModel | None
    known: Mapping[str, CallRates]
    ttl: Callable[[float], float]
    seed: int

    def entries(self, up: NDArray[np.bool_] | None = None) -> Iterator[Entry]:
        """Policies that a device can run.

        Args:
            up: [U, T] whether the cloud can be reached; None: always.
        """
        yield self._entry("never", 0.0, DeviceSettings(policy="never"), up)
        yield self._entry("always", 1.0, DeviceSettings(policy="always"), up)
        budgets = self.settings.budgets
        for k in sorted({*(round(1 / b) for b in budgets), *INTERVALS}):
            yield self._entry("every-k", 1 / k, DeviceSettings(policy="every-k", k=k), up)
        for budget in budgets:
            ttl = DeviceSettings(policy="time-to-live", ttl_s=self.ttl(budget))
            yield self._entry("time-to-live", budget, ttl, up)
        for policy in BUDGETED:
            if self.gain is None and policy.endswith("gain"):
                continue
            for budget in budgets:
                # What outages do to a device's own budget they do to a fleet's as well.
                for scope in ("device", "fleet") if up is None else ("fleet",):
                    settings = DeviceSettings.model_validate(
                        {"policy": policy, "budget": budget, "budget_scope": scope}
                    )
                    name = policy + (FLEET if scope == "fleet" else "")
                    yield self._entry(name, budget, settings, up)

    def bounds(self, *, calibrated: bool) -> Iterator[Entry]:
        """The best for those who know every outcome: within each device's budget, or the fleet's.

        A device's budget of less than a call within the window is none.
        """
        ranks = self.evidence.ranks(calibrated=calibrated)
        values = np.where(np.isnan(ranks["expected"]), np.nan, ndcg(ranks, CUTOFF))
        users, length = self.evidence.alone.shape
        for budget in self.settings.budgets:
            each = int(budget * (length - 1))
            if each:
                yield Entry("oracle", budget, best_with_calls(values, each))
            calls = int(budget * users * (length - 1))
            yield Entry("oracle" + FLEET, budget, best_of_fleet(values, calls))

    @cached_property
    def _gain(self) -> GainModel | None:
        return None if self.gain is None else Remembered(self.gain)

    @cached_property
    def _shown(self) -> Shown:
        return Shown.of(self.evidence)

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return interleaved(self.windows, "users")

    def _entry(
        self, name: str, budget: float, settings: DeviceSettings, up: NDArray[np.bool_] | None
    ) -> Entry:
        users = len(self.windows.user)
        shared = make_fleet_budget(
            settings, np.random.default_rng([self.seed, _SHARED]), self.known
        )
        policies = [
            make_policy(
                settings,
                np.random.default_rng([self.seed, _DEVICES, user]),
                gain=self._gain,
                known=self.known,
                fleet=shared,
            )
            for user in range(users)
        ]
        return Entry(name, budget, drive(policies, self._shown, self.windows, self._order, up))
