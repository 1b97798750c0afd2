"""The replay of a run by shards, whose records become those of one run."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from pydantic import SecretStr

from loadtest.records.record_table import read_records
from loadtest.records.recorder import REQUESTS
from loadtest.replay.replay import ReplayResult
from loadtest.replay.shards.merge import keep_records, merge_records, shard_dir
from loadtest.replay.shards.outcome import ShardOutcome, add_up, write_outcomes
from loadtest.replay.shards.plan import ShardPlan, log_digest, plan_shards
from loadtest.timing.schedule import build_schedule
from scalrec.settings import Settings
from scalrec.sharding.crew import Crew
from scalrec.sharding.shard import ShardOrder, ShardReport
from scalrec.stack.live_view import facts_of, run_name
from shared.bundle import Bundle
from shared.errors import ConfigError, LaunchError
from shared.interactions import InteractionLog
from shared.progress import Progress
from shared.split import Split

OpenCrew = Callable[[Sequence[ShardOrder]], Crew]


def replay_in_shards(
    settings: Settings,
    shards: int,
    open_crew: OpenCrew,
    log: InteractionLog,
    split: Split,
    bundle: Bundle,
    url: str,
    run_dir: Path,
    started: datetime,
    *,
    progress: Progress,
) -> tuple[ReplayResult, tuple[ShardOutcome, ...]]:
    """Replay on the wall clock by ``shards`` processes; ``run_dir`` gets the records of all.

    Each shard's own lie in ``shards/``, what became of each in shards.json, also when the replay
    is cut short. A shard that fails does not end the others: its outcome says what is missing.

    Args:
        open_crew: starts a shard for each of its orders.

    Raises:
        LaunchError: every shard failed.
    """
    schedule = build_schedule(log, split, settings.replay, seed=settings.seed)
    plans = plan_shards(schedule, shards, seed=settings.seed)
    carried = _portable(settings, len(plans))
    facts = None
    if settings.dashboard.push_url is not None:
        if settings.dashboard.token is None:
            raise ConfigError("dashboard.push_url needs dashboard.token, on both sides")
        run = run_name(settings, run_dir)
        facts = facts_of(settings, log, split, bundle.manifest, run, started)
    run_id, digest = secrets.token_hex(4), log_digest(log)
    orders = [
        ShardOrder(
            settings=carried,
            plan=plan,
            url=url,
            bundle=bundle.path.absolute(),
            bundle_id=bundle.id,
            log=digest,
            run_id=run_id,
            facts=facts,
        )
        for plan in plans
    ]
    crew = open_crew(orders)
    try:
        crew.replay(len(schedule), progress)
    finally:
        outcomes = _keep(run_dir, plans, crew.reports)
    results = [r.result for r in crew.reports.values() if r.result is not None]
    if not results:
        raise LaunchError(
            f"all {len(plans)} shards failed, the first of them: {outcomes[0].error}. See "
            f"{run_dir / 'shards.json'}"
        )
    return add_up(results), outcomes


def _portable(settings: Settings, shards: int) -> Settings:
    """Settings that mean the same elsewhere: whole paths, keys by value, a share of what is in
    flight."""
    cloud, own, replay = settings.cloud, settings.log, settings.replay
    if cloud.auth != "off" and cloud.auth_keys_file is not None:
        keys = SecretStr(cloud.auth_keys_file.read_text(encoding="utf-8"))
        cloud = cloud.model_copy(update={"auth_keys": keys, "auth_keys_file": None})
    paths = {
        name: path.absolute()
        for name, path in (("path", own.path), ("items", own.items))
        if path is not None
    }
    most = -(-replay.max_refreshes // shards)
    return settings.model_copy(
        update={
            "cloud": cloud,
            "log": own.model_copy(update=paths),
            "replay": replay.model_copy(update={"max_refreshes": most}),
        }
    )


def _keep(
    run_dir: Path, plans: tuple[ShardPlan, ...], reports: dict[int, ShardReport]
) -> tuple[ShardOutcome, ...]:
    outcomes = []
    for plan in plans:
        report = reports.get(plan.number) or ShardReport("", error="did not stop in time")
        keep_records(run_dir, plan.number, report.files)
        frame = read_records(shard_dir(run_dir, plan.number) / REQUESTS, ())
        outcomes.append(
            ShardOutcome(
                shard=plan.number,
                users=len(plan.users),
                due=plan.due,
                answered=0 if frame is None else frame.height,
                seed=plan.seed,
                node=report.node,
                started=report.started,
                error=report.error,
            )
        )
    merge_records(run_dir)
    write_outcomes(run_dir, outcomes)
    return tuple(outcomes)
