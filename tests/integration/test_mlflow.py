"""`scalrec report --to mlflow` into a real local store, read back by MLflow's own client."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from loadtest.replay.run_info import read_run_info, write_run_info
from reports.run_report import report_run
from reports.summary.build import read_summary
from reports.summary.model import Summary
from reports.tracking.connection import TrackingUnavailable, sqlite_file
from reports.tracking.facts import RUN_ID, params_of, tags_of
from reports.tracking.figures import figures_of
from reports.tracking.mlflow_run import track_in_mlflow
from scalrec.commands.report import report
from scalrec.settings import Settings
from shared.errors import ConfigError
from shared.section import printable
from tests.support.runs import invent_run

pytestmark = pytest.mark.slow  # MLflow comes with `make test-all`
RAN = "20260102T030405-it's one"


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with all settings: more parameters, and more metrics, than go at once."""
    run = invent_run(tmp_path_factory.mktemp("runs") / RAN, users=8)
    info = read_run_info(run)
    write_run_info(run, info.model_copy(update={"settings": printable(Settings())}))
    return run


@pytest.fixture(scope="module")
def reported(run_dir: Path) -> Summary:
    """What its report says; it is written."""
    report_run(run_dir)
    return read_summary(run_dir)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without runs: making one takes MLflow seconds, through every migration it had."""
    file = tmp_path_factory.mktemp("store") / "empty.db"
    client(f"sqlite:///{file}")
    return file


@pytest.fixture
def uri(empty: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(empty, tmp_path / 'ours.db')}"


def client(uri: str) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri)


def tracked(uri: str, experiment: str = "scalrec") -> list[Any]:
    place = client(uri).get_experiment_by_name(experiment).experiment_id
    return list(client(uri).search_runs([place]))


def test_a_run_is_read_back_as_it_was_recorded(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"sqlite:///{tmp_path / 'a store' / 'ours.db'}"  # neither is there
    report([run_dir], to="mlflow", tracking_uri=uri)
    [run] = tracked(uri)
    assert f"new in MLflow: run {run.info.run_id} of experiment scalrec" in capsys.readouterr().out
    summary = read_summary(run_dir)
    assert len(run.data.params) > 100
    assert run.data.params == params_of(summary.run)
    assert len(run.data.metrics) > 100
    assert run.data.metrics == figures_of(summary)
    assert (run.info.run_name, run.data.tags[RUN_ID]) == (RAN, RAN)
    assert run.info.status == "FINISHED"
    assert run.info.end_time - run.info.start_time == 273_700  # ms, of the stages
    assert "With an embedding 5 events old" in run.data.tags["mlflow.note.content"]
    files = {one.path: one.file_size for one in client(uri).list_artifacts(run.info.run_id)}
    names = ("checksums.json", "report.html", "run.json", "summary.json")
    assert files == {name: (run_dir / name).stat().st_size for name in names}
    copy = client(uri).download_artifacts(run.info.run_id, "summary.json", str(tmp_path))
    assert Path(copy).read_bytes() == (run_dir / "summary.json").read_bytes()
    beside = Path(uri.removeprefix("sqlite:///")).parent / "mlruns"
    assert run.info.artifact_uri.startswith(beside.as_uri())


def test_a_second_call_completes_the_run_and_makes_no_other(
    run_dir: Path, reported: Summary, uri: str
) -> None:
    assert track_in_mlflow(run_dir, reported, uri=uri).made
    [first] = tracked(uri)
    # As an older report and another person would have left it.
    client(uri).log_metric(first.info.run_id, "cloud/calls", -1.0)
    client(uri).set_tag(first.info.run_id, "reviewed", "yes")
    for _ in range(2):
        completed = track_in_mlflow(run_dir, reported, uri=uri)
        assert (completed.run_id, completed.made) == (first.info.run_id, False)
    [again] = tracked(uri)
    assert again.data.metrics == first.data.metrics
    assert again.data.params == first.data.params
    assert again.data.tags == first.data.tags | {"reviewed": "yes"}
    history = {
        name: [one.value for one in client(uri).get_metric_history(first.info.run_id, name)]
        for name in ("cloud/calls", "cloud/refreshes")
    }
    calls, refreshes = (first.data.metrics[name] for name in history)
    assert history == {"cloud/calls": [calls, -1.0, calls], "cloud/refreshes": [refreshes]}


def test_a_call_that_broke_off_is_completed_by_the_next(
    run_dir: Path, reported: Summary, uri: str, tmp_path: Path
) -> None:
    files = (tmp_path / "files").as_uri()
    place = client(uri).create_experiment("scalrec", artifact_location=files)
    begun = client(uri).create_run(place, tags=tags_of(RAN, reported.run), run_name=RAN)
    client(uri).log_param(begun.info.run_id, "device.k", params_of(reported.run)["device.k"])
    assert track_in_mlflow(run_dir, reported, uri=uri).run_id == begun.info.run_id
    [run] = tracked(uri)
    assert run.data.params == params_of(reported.run)
    assert run.data.metrics == figures_of(reported)
    assert (begun.info.status, run.info.status) == ("RUNNING", "FINISHED")


def test_other_runs_stay_apart_and_failed_ones_say_so(
    run_dir: Path, reported: Summary, uri: str, tmp_path: Path
) -> None:
    other = invent_run(tmp_path / "other" / RAN, users=8, seed=1)
    later = {"started": "2026-01-02T03:04:06+00:00", "run_failures": ("no snapshot came",)}
    info = read_run_info(other).model_copy(update=later)
    summaries = {run_dir: reported, other: reported.model_copy(update={"run": info})}
    for run, summary in summaries.items():
        track_in_mlflow(run, summary, uri=uri, experiment="ours")
    runs = {run.data.tags["scalrec.started"]: run for run in tracked(uri, "ours")}
    assert len(runs) == 2
    assert runs[later["started"]].info.status == "FAILED"
    assert "no snapshot came" in runs[later["started"]].data.tags["mlflow.note.content"]


def test_what_mlflow_itself_reads_says_where(
    run_dir: Path, reported: Summary, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "of the environment")
    track_in_mlflow(run_dir, reported)
    [run] = tracked(uri, "of the environment")
    client(uri).delete_run(run.info.run_id)
    track_in_mlflow(run_dir, reported)
    [made_anew] = tracked(uri, "of the environment")
    assert made_anew.info.run_id != run.info.run_id
    client(uri).delete_experiment(run.info.experiment_id)
    with pytest.raises(TrackingUnavailable, match="was deleted in MLflow"):
        track_in_mlflow(run_dir, reported)


def test_without_an_address_the_store_is_the_folders_own(
    run_dir: Path, reported: Summary, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    file = Path(sqlite_file(uri) or "").rename("mlflow.db").absolute()
    told = track_in_mlflow(run_dir, reported)
    assert told.store == f"sqlite:///{file}"
    assert [run.info.run_id for run in tracked(told.store)] == [told.run_id]
    assert len(list((tmp_path / "mlruns").rglob("report.html"))) == 1


@pytest.fixture
def failing() -> Iterator[tuple[str, list[str]]]:
    """Address of a server that answers 503 to everything, and the requests that it got."""
    asked: list[str] = []

    class Answering503(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(503)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering503) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_a_server_that_fails_is_tried_three_times_and_named(
    run_dir: Path,
    reported: Summary,
    failing: tuple[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, asked = failing
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    before = dict(os.environ)
    with pytest.raises(TrackingUnavailable) as caught:
        track_in_mlflow(run_dir, reported, uri=f"http://someone:hidden@{address}")
    assert len(asked) == 3
    assert address in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert "the report itself is written" in str(caught.value)
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("kind", "words"), [("a file of text", "cannot be used"), ("nothing known", "did not take")]
)
def test_a_store_that_is_none_is_told_at_once(
    run_dir: Path, reported: Summary, tmp_path: Path, kind: str, words: str
) -> None:
    (tmp_path / "notes.txt").write_text("not a database, and long enough to have a header " * 9)
    told = {
        "a file of text": f"sqlite:///{tmp_path / 'notes.txt'}",
        "nothing known": f"gopher://{tmp_path}",
    }
    with pytest.raises((ConfigError, TrackingUnavailable), match=words):
        track_in_mlflow(run_dir, reported, uri=told[kind])


def test_no_usage_data_is_sent_unless_the_user_wants_it(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'ours.db'}"
    program = f"""
import json
from reports.tracking.connection import connected
with connected({uri!r}):
    from mlflow.telemetry.client import get_telemetry_client
    from mlflow.telemetry.utils import is_telemetry_disabled
    inside = is_telemetry_disabled()
print(json.dumps([get_telemetry_client() is None, inside, is_telemetry_disabled()]))
"""
    # Of a user: no variable that says that this is a test or a machine of a build.
    ours = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", program], env=ours, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    # No client was made, because of what is set while MLflow is used; outside it would have been.
    assert json.loads(done.stdout) == [True, True, False]
