"""Many short runs of varied scenarios, each held against the checker; what fails is kept."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from loadtest.scenarios.load import load_scenario, scenario_names
from loadtest.scenarios.model import Scenario
from loadtest.scenarios.variation import varied
from loadtest.scenarios.verdict import ScenarioVerdict

USERS = 40  # small, so that many variations can be run


@dataclass(frozen=True)
class RobustnessRun:
    """One variation and what came of it; ``run_dir`` is gone if it was passed."""

    scenario: Scenario
    verdict: ScenarioVerdict
    run_dir: Path


def variations(count: int, seed: int) -> Iterator[Scenario]:
    """``count`` variations: the scenarios in turn, each time with another seed."""
    names = scenario_names()
    for n in range(count):
        yield varied(load_scenario(names[n % len(names)]), seed=seed + n, users=USERS)


async def run_varied(
    scenario: Scenario, run_dir: Path, run: Callable[[Scenario, Path], Awaitable[ScenarioVerdict]]
) -> RobustnessRun:
    """Run one variation; its folder stays only if it was not passed.

    Args:
        run: makes the run in the folder it is given.
    """
    verdict = await run(scenario, run_dir)
    if verdict.passed:
        shutil.rmtree(run_dir)
    else:
        (run_dir / f"{scenario.name}.yaml").write_text(scenario.as_yaml())
    return RobustnessRun(scenario, verdict, run_dir)
