"""A disk that is full: what was asked for is named, nothing is torn, and there is no traceback.

A limit on the size of files stands in for the disk: writes beyond it fail in the same calls.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launch.environments import default_lock_dir
from loadtest.records.recorder import REQUESTS
from tests.support.runs import invent_run
from tests.support.tiers import first_quick

ROOT = default_lock_dir().parent
# Enough records that they do not fit into 16 KiB.
RECORDS = """
import sys
from pathlib import Path
from loadtest.records.recorder import Recorder
from scalrec import cli
from tests.unit.loadtest.records.test_recorder import refresh, request

def work():
    with Recorder(Path(sys.argv[1])) as recorder:
        for n in range(20_100):
            recorder.request(request(n)._replace(omega=n * 0.1234567, user=n * 7919 % 100_003))

cli.build_app = lambda: work
cli.run()
"""


def limited(kib: int) -> Callable[[], None]:
    """Files of the child cannot grow beyond ``kib`` KiB."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (kib * 1024, kib * 1024))

    return limit


def ended(command: list[str], kib: int) -> str:
    """What a command that hits the limit says; it ends with exit code 2 and no traceback."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=limited(kib),
    )
    told = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 2, told
    assert "Traceback" not in told
    return told


@pytest.mark.parametrize(("kib", "name"), first_quick([(1, "summary.json"), (400, "report.html")]))
def test_a_report_that_does_not_fit(tmp_path: Path, kib: int, name: str) -> None:
    folder = invent_run(tmp_path / "run")
    subprocess.run([sys.executable, "-m", "scalrec", "report", str(folder)], cwd=ROOT, check=True)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    told = ended(["-m", "scalrec", "report", str(folder)], kib)
    assert str(folder / name) in told.replace(" ", "") or f"{folder / name}" in told
    assert "free some space" in told
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_records_that_do_not_fit(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    told = ended(["-c", RECORDS, str(folder)], 16)
    assert REQUESTS in told
    assert "free some space" in told
    assert not (folder / REQUESTS).exists()
    assert not list(folder.rglob("*.partial"))
