"""`scalrec report` on runs that did not end, and where MLflow is not installed."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loadtest.records.checksums import seal
from loadtest.records.record_table import schema_of
from loadtest.records.recorder import REFRESHES, REQUESTS, RequestRecord
from reports.summary.build import read_summary
from scalrec.commands.report import report
from shared.errors import ConfigError, DataError
from tests.support.runs import invent_run


def test_a_killed_run_is_reported_from_its_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = invent_run(tmp_path / "run")
    (run_dir / REFRESHES).unlink()
    whole = pl.read_parquet(run_dir / REQUESTS)
    (run_dir / REQUESTS).unlink()
    parts = run_dir / f"{REQUESTS}.parts"
    parts.mkdir()
    half = whole.height // 2
    _as_recorded(whole.head(half), parts / "000000.parquet")
    _as_recorded(whole.slice(half, 10), parts / "000001.parquet")
    report([run_dir])
    system = read_summary(run_dir).system
    assert system is not None
    assert system.scope.requests == half + 10
    assert f"{half + 10:,} rows of {REQUESTS} recovered" in capsys.readouterr().out
    assert (run_dir / "report.html").exists()


def test_changed_records_are_refused_and_those_without_checksums_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = invent_run(tmp_path / "run")
    report([run_dir])
    assert "keeps no checksums of attempts.parquet" in capsys.readouterr().out
    seal(run_dir, *(path.name for path in run_dir.glob("*.parquet")))
    report([run_dir])
    assert "checksums" not in capsys.readouterr().out
    data = bytearray((run_dir / REQUESTS).read_bytes())
    data[len(data) // 2] ^= 1
    (run_dir / REQUESTS).write_bytes(data)
    for runs in ([run_dir], [run_dir, invent_run(tmp_path / "other")]):
        with pytest.raises(DataError, match=f"{REQUESTS}: was changed or damaged"):
            report(runs, work_dir=tmp_path)


def test_without_mlflow_the_report_is_written_and_the_extra_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)  # importing it fails
    run_dir = invent_run(tmp_path / "run", users=8)
    with pytest.raises(ConfigError, match=r"pip install 'scalrec\[mlflow\]'"):
        report([run_dir], to="mlflow")
    assert (run_dir / "report.html").exists()


def test_options_of_mlflow_are_refused_where_they_would_do_nothing(tmp_path: Path) -> None:
    for given in ({"tracking_uri": "http://127.0.0.1:5000"}, {"experiment": "ours"}):
        with pytest.raises(ConfigError, match="add --to mlflow"):
            report([tmp_path], **given)
    runs = [invent_run(tmp_path / name, users=8) for name in ("one", "other")]
    with pytest.raises(ConfigError, match="--to takes one run"):
        report(runs, work_dir=tmp_path, to="mlflow")


def _as_recorded(rows: pl.DataFrame, path: Path) -> None:
    """Write rows with the recorder's own schema, of before it counted ties."""
    schema = schema_of(RequestRecord)
    older = pa.schema([field for field in schema if field.name in rows.columns])
    pq.write_table(rows.select(older.names).to_arrow().cast(older), path)
