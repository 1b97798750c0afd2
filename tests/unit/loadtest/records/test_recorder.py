import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from loadtest.records import record_table as module
from loadtest.records.checksums import SUMS
from loadtest.records.recorder import (
    REFRESHES,
    REQUESTS,
    Recorder,
    RefreshRecord,
    RequestRecord,
    recover,
)
from shared.errors import ConfigError

REQUEST_COLUMNS = (
    "user:int32 step:int32 target:int32 is_return:bool scheduled_s:double started_s:double "
    "finished_s:double latency_scheduled_ms:double latency_service_ms:double source:string "
    "rank:double rank_uncalibrated:double rank_structure:double rank_popularity:double "
    "rank_frequency:double rank_decayed:double n_candidates:int32 delta:int32 omega:double "
    "drift:double r:double alpha:double de_norm:double trust:double snapshot_version:uint64 "
    "snapshot_tau:int32 snapshot_age_s:double breaker:string cloud_up:bool "
    "tied:int32 tied_uncalibrated:int32 tied_structure:int32 tied_popularity:int32 "
    "tied_frequency:int32 tied_decayed:int32 rank_alone:double tied_alone:int32"
)
REFRESH_COLUMNS = (
    "user:int32 step:int32 started_s:double finished_s:double outcome:string attempts:int32 "
    "request_bytes:int64 response_bytes:int64 latency_ms:double tau:int32 version:uint64 "
    "cloud_up:bool reason:string"
)


def request(n: int) -> RequestRecord:
    ranks = (float("inf"), 1.0, 2.5, 3.0, 4.0, 5.0)
    cues = (-1, float("nan"), 0.25, 0.5, 0.5, float("nan"), 0.75)
    return RequestRecord(
        n, 2, 3, True, 0.1 * n, 0.2, 0.3, 1.0, 2.0, "local", *ranks, 30, *cues,
        2**63 + n, -1, float("nan"), "closed", False,
    )  # fmt: skip


def refresh(n: int) -> RefreshRecord:
    return RefreshRecord(n, 4, 1.0, 2.0, "fresh", 1, 300, 900, 12.5, 4, 2**63 + n, True)


def test_schema_is_the_contract(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run"):
        pass
    for name, columns in ((REQUESTS, REQUEST_COLUMNS), (REFRESHES, REFRESH_COLUMNS)):
        schema = pq.read_schema(tmp_path / "run" / name)
        assert " ".join(f"{field.name}:{field.type}" for field in schema) == columns
        assert pq.ParquetFile(tmp_path / "run" / name).metadata.num_rows == 0


def test_rows_come_back_in_order_across_parts_and_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS_PER_PART", 7)
    monkeypatch.setattr(module, "ROWS_PER_GROUP", 20)
    with Recorder(tmp_path) as recorder:
        for n in range(50):
            recorder.request(request(n))
        recorder.refresh(refresh(1))
    table = pq.read_table(tmp_path / REQUESTS)
    assert table["user"].to_pylist() == list(range(50))
    assert table["snapshot_version"].to_pylist()[49] == 2**63 + 49
    assert np.isinf(table["rank"].to_numpy()).all()
    assert np.isnan(table["omega"].to_numpy()).all()
    metadata = pq.ParquetFile(tmp_path / REQUESTS).metadata
    assert metadata.num_row_groups == 3
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    assert sorted(p.name for p in tmp_path.iterdir()) == [SUMS, REFRESHES, REQUESTS]


def test_same_rows_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with Recorder(tmp_path / name) as recorder:
            for n in range(100):
                recorder.request(request(n))
                recorder.refresh(refresh(n))
    for name in (REQUESTS, REFRESHES):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_killed_run_keeps_what_was_flushed(tmp_path: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from loadtest.records.recorder import Recorder
from tests.unit.loadtest.records.test_recorder import refresh, request
recorder = Recorder(Path(sys.argv[1]))
for n in range(30):
    recorder.request(request(n))
recorder.refresh(refresh(0))
recorder.flush()
recorder.request(request(30))
os.kill(os.getpid(), 9)
"""
    root = Path(__file__).parents[4]
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "run")], cwd=root)
    assert done.returncode == -9
    assert recover(tmp_path / "run") == {REQUESTS: 30, REFRESHES: 1}
    assert pq.read_table(tmp_path / "run" / REQUESTS)["user"].to_pylist() == list(range(30))
    # A run that is alive after all must not lose its parts: merging again changes nothing.
    assert recover(tmp_path / "run") == {REQUESTS: 30, REFRESHES: 1}
    assert recover(tmp_path) == {}


def test_exception_inside_still_leaves_whole_files(tmp_path: Path) -> None:
    def interrupted() -> None:
        with Recorder(tmp_path) as recorder:
            recorder.request(request(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert pq.read_table(tmp_path / REQUESTS).num_rows == 1


def test_full_disk_loses_nothing_when_space_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    recorder = Recorder(tmp_path)
    recorder.request(request(0))
    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", refuse)
        recorder.flush()
        with pytest.raises(ConfigError, match="No space left"):
            recorder.close()
    recorder.request(request(1))
    recorder.close()
    assert pq.read_table(tmp_path / REQUESTS)["user"].to_pylist() == [0, 1]


def test_a_folder_with_records_is_refused(tmp_path: Path) -> None:
    with Recorder(tmp_path):
        pass
    with pytest.raises(ConfigError, match="already holds records"):
        Recorder(tmp_path)


def test_an_impossible_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot create run folder"):
        Recorder(tmp_path / "file" / "run")
