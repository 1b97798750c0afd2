"""Many short runs of varied scenarios, each held against the checker; what fails is kept."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from launch.process import ChildProcess
from loadtest.scenarios.load import load_scenario, scenario_names
from loadtest.scenarios.model import Scenario
from loadtest.scenarios.robustness_record import HEAD, RobustnessHead, read_lines
from loadtest.scenarios.variation import varied
from loadtest.scenarios.verdict import ScenarioVerdict
from scalrec.options import settings_environment
from scalrec.settings import Settings
from shared.errors import ConfigError
from shared.files import write_whole
from shared.progress import Progress

USERS = 40  # small, so that many variations can be run
POLL_S = 0.5


@dataclass(frozen=True)
class RobustnessRun:
    """One variation and what came of it; ``run_dir`` is gone if it was passed."""

    scenario: Scenario
    verdict: ScenarioVerdict
    run_dir: Path
    spent_s: float


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
        run: makes the run in the folder it is given; what an interrupted one left there goes.
    """
    if run_dir.exists():
        shutil.rmtree(run_dir)
    started = time.monotonic()
    verdict = await run(scenario, run_dir)
    if verdict.passed:
        shutil.rmtree(run_dir)
    else:
        (run_dir / f"{scenario.name}.yaml").write_text(scenario.as_yaml())
    return RobustnessRun(scenario, verdict, run_dir, time.monotonic() - started)


def claim_folder(folder: Path, head: RobustnessHead) -> None:
    """Put ``head`` into a folder, or see that it is the same as there.

    Raises ConfigError if the runs there were made from something else.
    """
    path = folder / HEAD
    if not path.exists():
        write_whole(path, head.model_dump_json(indent=1) + "\n")
        return
    try:
        found = RobustnessHead.model_validate_json(path.read_text())
    except (OSError, ValidationError) as error:
        raise ConfigError(f"{path} does not tell what runs lie there: {error}") from error
    for name, mine in head.model_dump().items():
        if mine != (theirs := getattr(found, name)):
            raise ConfigError(
                f"the runs in {folder} were made with {name} {theirs}, this is {mine}: "
                "leave --resume out to start anew"
            )


async def run_parts(
    settings: Settings,
    bundle: Path,
    folder: Path,
    *,
    count: int,
    seed: int,
    jobs: int,
    progress: Progress,
) -> None:
    """Make all runs on the virtual clock in ``jobs`` processes, each a part of them.

    Args:
        settings: with the address of an embedder that runs.
        folder: claimed; gets the lines.

    Raises:
        LaunchError: a process ended with an error; carries the tail of its log.
    """
    environment = os.environ | settings_environment(settings) | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "scalrec", "robustness", "--sockets", "0"]
    command += ["--count", str(count), "--seed", str(seed), "--bundle", str(bundle.absolute())]
    command += ["--resume", str(folder.absolute())]
    async with AsyncExitStack() as stack:
        parts = []
        for n in range(jobs):
            part = ChildProcess(
                f"robustness part {n}",
                [*command, "--part", f"{n}/{jobs}"],
                log=folder / "logs" / f"part-{n}.log",
                env=environment,
            )
            stack.push_async_callback(part.stop)
            part.start()
            parts.append(part)
        with progress.task("scenarios on virtual clock", count) as task:
            done = 0
            while any(part.running for part in parts):
                await asyncio.sleep(POLL_S)
                lines = read_lines(folder)
                task.advance(len(lines) - done)
                done = len(lines)
        for part in parts:
            if part.returncode not in (0, 1):  # 1: a history does not hold, and the line says so
                part.check()
