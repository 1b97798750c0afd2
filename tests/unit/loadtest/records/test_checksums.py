"""Records are read as they were written, or refused by name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from loadtest.history.log import HistoryLog
from loadtest.history.records import ATTEMPTS
from loadtest.records.checksums import SUMS, check, seal, unsealed
from loadtest.records.evidence_records import FULL, FullRecord, write_records
from loadtest.records.record_table import read_records
from loadtest.records.recorder import REFRESHES, REQUESTS, Recorder
from loadtest.replay.run_info import RUN_FILE, read_run_info
from reports.summary.build import build_summary
from shared.errors import DataError
from tests.support.runs import invent_run
from tests.unit.loadtest.records.test_recorder import refresh, request


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run's folder with a record of every kind in it."""
    with Recorder(tmp_path) as recorder:
        for n in range(200):
            recorder.request(request(n))
            recorder.refresh(refresh(n))
    HistoryLog(tmp_path).close()
    write_records(tmp_path / FULL, [], FullRecord)
    return tmp_path


@pytest.mark.parametrize("name", [REQUESTS, REFRESHES, ATTEMPTS, FULL])
def test_one_flipped_bit_of_a_record_is_found_by_name(run_dir: Path, name: str) -> None:
    assert read_records(run_dir / name, ()) is not None
    data = bytearray((run_dir / name).read_bytes())
    for place in (0, len(data) // 3, len(data) // 2, len(data) - 1):
        flipped = bytearray(data)
        flipped[place] ^= 1
        (run_dir / name).write_bytes(flipped)
        with pytest.raises(DataError, match=f"{name}: was changed or damaged"):
            read_records(run_dir / name, ())
    (run_dir / name).write_bytes(data)
    assert read_records(run_dir / name, ()) is not None


def test_a_record_that_was_taken_away_is_missed(run_dir: Path) -> None:
    (run_dir / REFRESHES).unlink()
    with pytest.raises(DataError, match=f"{REFRESHES}: is missing"):
        read_records(run_dir / REFRESHES, ())
    assert read_records(run_dir / "never-made.parquet", ()) is None


def test_a_copied_run_is_read_and_damaged_checksums_are_named(
    run_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    copy = shutil.copytree(run_dir, tmp_path_factory.mktemp("copy") / "run")
    assert read_records(copy / REQUESTS, ()) is not None
    for damage in (b"{", b"[]", b"\xff", b"[" * 100_000):
        (copy / SUMS).write_bytes(damage)
        with pytest.raises(DataError, match=SUMS):
            read_records(copy / REQUESTS, ())


def test_figures_are_not_made_from_changed_records(tmp_path: Path) -> None:
    folder = invent_run(tmp_path)
    names = ["paper.parquet", "full.parquet", REQUESTS, REFRESHES, ATTEMPTS]
    assert unsealed(folder) == sorted(names)  # older runs: read all the same
    build_summary(folder)
    seal(folder, *names)
    assert unsealed(folder) == []
    build_summary(folder)
    for name in (*names, RUN_FILE):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data.replace(b"invented", b"inwented") + b" ")
        with pytest.raises(DataError, match=name):
            build_summary(folder)
        (folder / name).write_bytes(data)


def test_a_run_without_any_checksum_is_read(tmp_path: Path) -> None:
    folder = invent_run(tmp_path)
    (folder / SUMS).unlink()
    assert read_run_info(folder).backbone
    check(folder / RUN_FILE)


@pytest.mark.parametrize("text", ["[" * 200_000, "[1]", "5", "", "\x00"])
def test_checksums_that_are_none_are_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / SUMS).write_text(text)
    with pytest.raises(DataError, match=SUMS):
        unsealed(tmp_path)
