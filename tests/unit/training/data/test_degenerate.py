"""Logs that nothing can be learned from end in words before anything is trained."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cloud_service.embedding.hashing import HashingEmbedder
from scalrec.commands.data import show
from scalrec.jobs.prepared import read_log
from scalrec.settings import load_settings
from shared.errors import DataError
from shared.progress import NullProgress
from shared.split import split_log
from tests.support.bundles import make_catalogue
from tests.support.staleness import make_log
from training.data import degenerate
from training.data.degenerate import refuse_degenerate
from training.data.registry import load_log
from training.semantic.embedding_cache import EmbeddingCache
from training.settings import LogSettings
from training.stages.store import StageStore

T = 1_700_000_000
LOGS = {
    "single item, 'i'": "".join(f"u{n % 5},i,{T + n}\n" for n in range(60)),
    "single user, 'u'": "".join(f"u,i{n % 9},{T + n}\n" for n in range(60)),
    "none of the 12 users .* the longest history has 3": "".join(
        f"u{n % 12},i{n // 12},{T + n}\n" for n in range(36)
    ),
}


@pytest.mark.parametrize("words", LOGS)
async def test_it_is_refused_by_every_way_to_training(tmp_path: Path, words: str) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,item,time\n" + LOGS[words])
    settings = load_settings(
        log={"path": path, "min_events": 3}, work_dir=tmp_path / "work", cache=tmp_path / "cache"
    )
    with pytest.raises(DataError, match=words):
        await read_log(settings, NullProgress())
    log = load_log(settings.log, cache=tmp_path)
    from training.run import TrainingRun  # loads torch

    with EmbeddingCache(tmp_path / "e.sqlite") as cache, pytest.raises(DataError, match=words):
        TrainingRun(settings, log, HashingEmbedder(32), cache, StageStore(tmp_path), NullProgress())


@pytest.mark.parametrize("events", [1, 2, 3])
def test_only_users_too_short_to_test_on(events: int) -> None:
    log = make_log(users=12, events=events)
    with pytest.raises(DataError, match=f"takes 4 events .* the longest history has {events}"):
        refuse_degenerate(log, split_log(log))


def test_one_item_leaves_nothing_to_rank() -> None:
    log = make_log(users=12, events=30)
    alone = replace(log, item=np.zeros_like(log.item), catalogue=make_catalogue(1))
    with pytest.raises(DataError, match="single item"):
        refuse_degenerate(alone, split_log(alone))


def test_looking_at_it_says_so_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user,item,time\n" + LOGS["single item, 'i'"])
    show(log=str(path))
    said = " ".join(capsys.readouterr().out.split())
    assert "warning it cannot be trained on: log 'log' has a single item" in said
    assert "tied times 0.0 % of events share" in said
    assert "by user: each user's last events are held out" in said


def test_a_user_of_more_events_than_anybody_has_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(degenerate, "MOST_EVENTS", 50)
    path = tmp_path / "log.csv"
    rows = [f"bot,i{n % 9},{T + n}\n" for n in range(51)]
    rows += [f"u{n % 3},i{n % 7},{T + n}\n" for n in range(30)]
    path.write_text("user,item,time\n" + "".join(rows))
    log = load_log(LogSettings(path=path), cache=tmp_path)
    with pytest.raises(DataError, match=r"user 'bot' of log 'log' has 51 events \(the median"):
        refuse_degenerate(log, split_log(log))


MILLIONS = """
import resource, sys
from pathlib import Path
from shared.errors import DataError
from shared.split import split_log
from training.data.degenerate import refuse_degenerate
from training.data.registry import load_log
from training.settings import LogSettings
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
log = load_log(LogSettings(path=Path(sys.argv[1])), cache=Path(sys.argv[1]).parent)
try:
    refuse_degenerate(log, split_log(log))
except DataError as error:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, error)
"""


@pytest.mark.slow
def test_a_user_of_two_million_events_is_refused_in_bounded_time_and_memory(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    number = np.arange(2_000_000)
    with path.open("w") as file:
        file.write("user,item,time\n")
        file.writelines(f"bot,i{n % 999},{T + n}\n" for n in number.tolist())
        file.writelines(f"u{n % 50},i{n % 99},{T + n}\n" for n in range(1000))
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", MILLIONS, str(path)], capture_output=True, text=True, check=True
    )
    mib, _, said = done.stdout.partition(" ")
    assert "user 'bot' of log 'log' has 2,000,000 events" in said
    assert time.monotonic() - started < 120
    assert int(mib) < 1500
