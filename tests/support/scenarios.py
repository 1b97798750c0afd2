"""Scenarios on the tiny bundle and a small log, on the virtual clock."""

from __future__ import annotations

from pathlib import Path

from cloud_service.embedding.hashing import HashingEmbedder
from loadtest.scenarios.load import load_scenario
from loadtest.scenarios.model import Scenario
from loadtest.scenarios.verdict import ScenarioVerdict
from scalrec.jobs.scenario_run import ScenarioRun
from scalrec.settings import Settings
from shared.progress import NullProgress, Progress
from shared.split import split_log
from tests.support.bundles import make_bundle
from tests.support.cloud import cloud_settings
from tests.support.staleness import make_log

USERS = 50


def tiny_run(
    folder: Path,
    scenario: Scenario | str,
    *,
    virtual: bool = True,
    users: int = USERS,
    events: int = 30,
    test_steps: int = 20,
    progress: Progress | None = None,
) -> ScenarioRun:
    """A scenario (by its name, with fewer devices) ready to be run in ``folder/run``."""
    if isinstance(scenario, str):
        scenario = load_scenario(scenario).changed(users=users)
    bundle = make_bundle(folder / "bundle")
    log = make_log(users=users, events=events)
    return ScenarioRun.of(
        scenario,
        tiny_settings(bundle.manifest.profile),
        log,
        split_log(log, test_steps=test_steps),
        bundle,
        folder / "run",
        progress or NullProgress(),
        virtual=virtual,
    )


def tiny_settings(profile: object) -> Settings:
    return cloud_settings().model_copy(update={"profile": profile})


def run_virtually(
    folder: Path, scenario: Scenario | str, *, users: int | None = None
) -> ScenarioVerdict:
    """The verdict on a scenario with the tiny bundle.

    Args:
        users: devices, and users of the log; None takes USERS of a named scenario, and as many as
            the scenario says of one that was made for the test.
    """
    if users is None:
        users = USERS if isinstance(scenario, str) else scenario.users
    run = tiny_run(folder, scenario, users=users)
    return run.on_the_virtual_clock(HashingEmbedder(run.bundle.manifest.embedder.dim))
