"""`scalrec fleet --processes`: real processes, whose record is that of one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from loadtest.replay.shards.outcome import failure_notes
from scalrec.jobs.replaying import replay_over_http
from scalrec.settings import Settings
from scalrec.sharding.process_crew import ProcessCrew
from scalrec.sharding.replaying import replay_in_shards
from scalrec.sharding.shard import ShardOrder
from shared.bundle import Bundle
from shared.interactions import InteractionLog
from shared.profile import DEFAULT
from shared.progress import NullProgress, NullTask, Task
from shared.split import Split
from tests.support.bundles import make_bundle
from tests.support.replays import records
from tests.support.staleness import make_log
from training.data.registry import load_log
from training.splitting import split_of

USERS, STEPS, ITEMS = 12, 5, 10
NOBODY = "http://127.0.0.1:9"  # the cloud is never asked
# What a process's own pace decides; all else follows from log, seed and bundle.
PACE = ("started_s", "finished_s", "latency_scheduled_ms", "latency_service_ms")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a fleet over a log in a file, as several processes can read it."""
    log = make_log(users=USERS, events=25, n_items=ITEMS)
    path, items = tmp_path / "log.csv", tmp_path / "items.csv"
    assert log.time is not None
    events = zip(log.user.tolist(), log.item.tolist(), log.time.tolist(), strict=True)
    rows = (f"{log.user_ids[u]},{log.catalogue.ids[i]},{when}" for u, i, when in events)
    path.write_text("\n".join(["who,what,when", *rows]) + "\n")
    titles = zip(log.catalogue.ids, log.catalogue.texts, strict=True)
    items.write_text("\n".join(["item_id,title", *(f"{i},{text}" for i, text in titles)]) + "\n")
    columns = "user=who,item=what,time=when"
    return Settings.model_validate(
        {
            "log": {"name": "log", "path": path, "columns": columns, "items": items},
            "cloud": {"auth": "off"},
            "work_dir": tmp_path / "runs",
            "cache": tmp_path / "cache",
            "profile": DEFAULT,
            "training": {"test_steps": STEPS},
            "replay": {
                "users": USERS,
                "steps": STEPS,
                "duration_s": 1.0,
                "availability": {"kind": "never"},
            },
        }
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "bundle", n_items=ITEMS, profile=DEFAULT)


@pytest.fixture
def log(settings: Settings) -> InteractionLog:
    return load_log(settings.log, cache=settings.cache, progress=NullProgress())


@pytest.fixture
def split(settings: Settings, log: InteractionLog) -> Split:
    return split_of(log, settings.training)


async def test_processes_record_what_one_does(
    tmp_path: Path, settings: Settings, bundle: Bundle, log: InteractionLog, split: Split
) -> None:
    started, progress = datetime.now(UTC), NullProgress()
    one, two = tmp_path / "one", tmp_path / "two"
    whole = await replay_over_http(settings, log, split, bundle, NOBODY, one, progress=progress)
    crews: list[ProcessCrew] = []

    def crew(orders: Sequence[ShardOrder]) -> ProcessCrew:
        crews.append(ProcessCrew(orders, two / "logs"))
        return crews[-1]

    result, outcomes = replay_in_shards(
        settings, 2, crew, log, split, bundle, NOBODY, two, started, progress=progress
    )
    assert failure_notes(outcomes) == []
    assert [outcome.answered for outcome in outcomes] == [30, 30]
    assert (result.users, result.requests) == (whole.users, whole.requests) == (USERS, 60)
    ordered = ["scheduled_s", "user", "step"]
    expected, found = (records(run_dir)[0].drop(PACE).sort(ordered) for run_dir in (one, two))
    assert found.equals(expected)
    assert found["rank"].is_finite().sum() > 30
    assert all(outcome.started is not None for outcome in outcomes)
    assert all(not child.running for child in crews[0].children.values())


def test_a_process_that_dies_is_told_and_the_other_goes_on(
    tmp_path: Path, settings: Settings, bundle: Bundle, log: InteractionLog, split: Split
) -> None:
    run_dir, started = tmp_path / "run", datetime.now(UTC)
    crews: list[ProcessCrew] = []

    def crew(orders: Sequence[ShardOrder]) -> ProcessCrew:
        crews.append(ProcessCrew(orders, run_dir / "logs"))
        return crews[-1]

    class Killing(NullProgress):
        """Kills a shard once all of them are ready."""

        @contextmanager
        def task(self, label: str, total: int | None = None) -> Iterator[Task]:
            if label == "Replay":
                os.kill(crews[0].children[1].pids[0], signal.SIGKILL)
            yield NullTask()

    longer = settings.replay.model_copy(update={"duration_s": 4.0})
    settings = settings.model_copy(update={"replay": longer})
    _, outcomes = replay_in_shards(
        settings, 2, crew, log, split, bundle, NOBODY, run_dir, started, progress=Killing()
    )
    assert [outcome.answered for outcome in outcomes] == [30, 0]
    [note] = failure_notes(outcomes)
    assert "shard 1 of 2 failed (its process ended with code 137" in note
    assert "30 of 30 requests of its 6 users were not answered" in note
    assert pl.read_parquet(run_dir / "requests.parquet").height == 30
