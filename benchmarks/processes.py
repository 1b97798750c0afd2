"""A fleet on several processes of this machine against the same fleet on one."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.timing import BenchmarkLine
from loadtest.settings import AvailabilitySettings
from scalrec.settings import Settings
from scalrec.sharding.process_crew import ProcessCrew
from scalrec.sharding.replaying import replay_in_shards
from shared.bundle import Bundle
from shared.errors import LaunchError
from shared.interactions import InteractionLog
from shared.progress import NullProgress
from shared.split import Split

ROUNDS = 3
AT_ONCE_S = 0.001  # all requests are due at once, so that each process answers as fast as it can
NOBODY = "http://127.0.0.1:9"  # the cloud is never asked


def compare_processes(
    settings: Settings, log: InteractionLog, split: Split, bundle: Bundle
) -> list[BenchmarkLine]:
    """Requests per second of every user's device without a cloud, on 1, 2, 4 ... processes.

    Each count of processes takes turns with one process; the best of its rounds is told, as
    whatever else runs can only slow a round down. A single process runs as a shard, too.
    """
    cores = os.cpu_count() or 1
    counts = [2**n for n in range(1, cores.bit_length()) if 2**n <= cores]
    rates: dict[int, float] = {}
    for _ in range(ROUNDS):
        for count in (1, *counts):
            rate = _rate(settings, log, split, bundle, count)
            rates[count] = max(rate, rates.get(count, 0.0))
    return [
        BenchmarkLine(
            name=f"a fleet on {count} processes / {count} times one",
            ours=rates[count],
            theirs=count * rates[1],
            unit="requests/s",
            ratio=rates[count] / (count * rates[1]),
            meaning="higher, 1 is the limit",
        )
        for count in counts
    ]


def _rate(
    settings: Settings, log: InteractionLog, split: Split, bundle: Bundle, processes: int
) -> float:
    update = {
        "clock": "wall",
        "users": log.n_users,
        "duration_s": AT_ONCE_S,
        "speed_up": None,
        "warm_start": False,
        "availability": AvailabilitySettings(kind="never"),
    }
    cloud = settings.cloud.model_copy(update={"auth": "off"})
    replay = settings.replay.model_copy(update=update)
    alone = settings.model_copy(update={"replay": replay, "cloud": cloud})
    with tempfile.TemporaryDirectory() as name:
        run_dir = Path(name)
        result, outcomes = replay_in_shards(
            alone,
            processes,
            lambda orders: ProcessCrew(orders, run_dir / "logs"),
            log,
            split,
            bundle,
            NOBODY,
            run_dir,
            datetime.now(UTC),
            progress=NullProgress(),
        )
    failed = [outcome.error for outcome in outcomes if outcome.error]
    if failed:
        raise LaunchError(f"a process of the fleet failed: {failed[0]}")
    return result.requests / result.elapsed_s
