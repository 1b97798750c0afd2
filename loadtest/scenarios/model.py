"""Scenario: a fleet, its traffic and a timed script of faults; the same wherever it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import numpy as np
import yaml
from pydantic import BaseModel, Field, model_validator

from loadtest.faults.fault import Fault
from loadtest.faults.script import FaultScript
from loadtest.settings import FleetSettings
from loadtest.timing.availability import Outages, random_on_off, recorded_trace
from shared.strict import Strict

S = TypeVar("S", bound=FleetSettings)
_OUTAGES = 3  # stream of the seed that random outages are drawn from
_SEED_FREE = ("clock", "users", "duration_s", "steps", "availability", "speed_up")


class OutagePattern(Strict):
    """Outages of the way to the cloud that follow a rule instead of a list.

    Attributes:
        kind: ``periodic``: the last ``outage_s`` of every ``period_s``; ``random``: a two-state
            Markov chain with the given ``availability``; ``trace``: a recorded one.
        failure: as in Fault.
        file: CSV of the trace, beside the scenario.
    """

    kind: Literal["periodic", "random", "trace"]
    period_s: float = Field(default=30.0, gt=0)
    outage_s: float = Field(default=10.0, gt=0, description="random: mean length of an outage")
    availability: float = Field(default=0.9, gt=0, lt=1)
    file: Path | None = None
    failure: Literal["refuse", "hang"] = "refuse"

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.kind == "periodic" and self.outage_s > self.period_s:
            raise ValueError("an outage cannot be longer than its period")
        if (self.kind == "trace") != (self.file is not None):
            raise ValueError("a trace needs its file, and nothing else does")
        return self


class Crowd(Strict):
    """Requests come ``factor`` times as fast for a while.

    The rate climbs linearly for ``ramp_s`` seconds from ``at_s``, stays for ``for_s`` and falls
    again within ``ramp_s``. The number of requests is the log's, so before and after they come
    more slowly than in a run without a crowd.
    """

    at_s: float = Field(ge=0)
    for_s: float = Field(gt=0)
    ramp_s: float = Field(default=10.0, gt=0)
    factor: float = Field(default=10.0, gt=1)


class Scenario(Strict):
    """A load test.

    Attributes:
        seed: of everything random in it.
        duration_s: seconds of replay.
        users: devices in the fleet; fewer if the log has fewer with test steps.
        steps: last events of each user that are replayed.
        device, replay, cloud, embedder: further settings of these sections.
        replicas: cloud processes.
        outages, faults: what happens to the cloud and the ways to it.
        crowd: a burst in the traffic.
    """

    name: str = Field(pattern=r"^[a-z0-9-]{1,60}$")
    description: str = Field(min_length=10)
    seed: int = Field(ge=0)
    duration_s: float = Field(gt=0, le=86_400)
    users: int = Field(ge=1)
    steps: int = Field(default=10, ge=1)
    device: dict[str, Any] = Field(default={"policy": "every-k", "k": 5})
    replay: dict[str, Any] = Field(default_factory=dict)
    cloud: dict[str, Any] = Field(default_factory=dict)
    embedder: dict[str, Any] = Field(default_factory=dict)
    replicas: int = Field(default=1, ge=1, le=8)
    outages: OutagePattern | None = None
    faults: tuple[Fault, ...] = ()
    crowd: Crowd | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for fault in self.faults:
            if fault.until_s > self.duration_s:
                raise ValueError(
                    f"{fault.words} ends at {fault.until_s:g} s, after the scenario's "
                    f"{self.duration_s:g} s: nothing could be seen of the recovery"
                )
            if fault.replica >= self.replicas:
                raise ValueError(f"{fault.words}: there are {self.replicas} replicas only")
        if clash := sorted(set(self.replay) & set(_SEED_FREE)):
            raise ValueError(f"replay.{clash[0]} is set by the scenario's own fields")
        return self

    def changed(self, **fields: Any) -> Scenario:
        """The same scenario with other values of the fields that are not None; checked anew."""
        given = {name: value for name, value in fields.items() if value is not None}
        return type(self).model_validate(self.model_dump() | given)

    def as_yaml(self) -> str:
        """The scenario as a file that ``load_scenario`` reads, if it is named after it."""
        return str(yaml.safe_dump(self.model_dump(mode="json", exclude_none=True)))

    def script(self) -> FaultScript:
        """All faults with their times, those of the outage pattern among them.

        Raises DataError if the trace cannot be read.
        """
        pattern = self.outages
        if pattern is None:
            return FaultScript(self.faults)
        cuts = [
            Fault(target="cloud-link", kind="cut", at_s=start, for_s=end - start,
                  failure=pattern.failure)
            for start, end in self._outages(pattern).intervals(self.duration_s)
            if end > start
        ]  # fmt: skip
        return FaultScript((*self.faults, *cuts))

    def applied_to(self, settings: S, *, virtual: bool) -> S:
        """``settings`` with everything the scenario states; raises ConfigError if impossible."""
        given = {
            "device": self.device,
            "cloud": self.cloud,
            "embedder": self.embedder,
            "replay": {
                **self.replay,
                "clock": "virtual" if virtual else "wall",
                "users": self.users,
                "steps": self.steps,
                "duration_s": self.duration_s,
                "speed_up": None,
                "availability": {"kind": "always"},
            },
        }
        sections = {
            name: _overlaid(getattr(settings, name), values) for name, values in given.items()
        }
        return settings.model_copy(update={"seed": self.seed, **sections})

    def _outages(self, pattern: OutagePattern) -> Outages:
        if pattern.kind == "random":
            rng = np.random.default_rng([self.seed, _OUTAGES])
            return random_on_off(pattern.availability, pattern.outage_s, self.duration_s, rng)
        if pattern.kind == "trace" and pattern.file is not None:
            return recorded_trace(pattern.file, self.duration_s)
        up = pattern.period_s - pattern.outage_s
        starts = np.arange(0.0, self.duration_s, pattern.period_s) + up
        return Outages((start, start + pattern.outage_s) for start in starts.tolist())


def _overlaid(section: BaseModel, values: dict[str, Any]) -> BaseModel:
    """A settings section with ``values`` on top, validated; nested sections are overlaid too."""

    def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
        merged = dict(below)
        for name, value in above.items():
            inner = merged.get(name)
            if isinstance(inner, dict) and isinstance(value, dict):
                value = merge(inner, value)
            merged[name] = value
        return merged

    return type(section).model_validate(merge(section.model_dump(), values))
