"""A service that has ended well does nothing the next time, unless something has changed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ONCE = ROOT / "deploy" / "bin" / "once.py"
SAID = "nothing has changed"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def once(tmp_path: Path) -> Run:
    """Runs a copy of once.py beside a prepare.py that counts, and fails if told to."""
    beside = tmp_path / "bin"
    beside.mkdir()
    (beside / "once.py").write_bytes(ONCE.read_bytes())
    (beside / "prepare.py").write_text(
        "import os, sys\n"
        "open(os.environ['COUNT'], 'a').write(sys.argv[1])\n"
        "sys.exit(int(os.environ.get('FAILS', '0')))\n"
    )
    (tmp_path / "cache").mkdir()

    def run(what: str = "bundle", **variables: str) -> subprocess.CompletedProcess[str]:
        env = {
            "PATH": os.environ["PATH"],
            "COUNT": str(tmp_path / "count"),
            "SCALREC_CACHE": str(tmp_path / "cache"),
            "SCALREC_WORK_DIR": str(tmp_path / "work"),
        }
        command = [sys.executable, str(beside / "once.py"), what]
        return subprocess.run(
            command, env=env | variables, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def test_nothing_is_done_twice(once: Run, tmp_path: Path) -> None:
    assert SAID not in once().stdout
    started = time.monotonic()
    second = once()
    assert SAID in second.stdout
    assert second.returncode == 0
    assert time.monotonic() - started < 10
    assert (tmp_path / "count").read_text() == "bundle"


def test_what_changes_a_bundle_or_a_setting_is_seen(once: Run, tmp_path: Path) -> None:
    manifest = tmp_path / "work" / "bundles" / "b" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    log = tmp_path / "loans.csv"
    log.write_text("who,what\n")
    settings = {"SCALREC_LOG__PATH": str(log), "SCALREC_LOG__NAME": "loans"}
    assert SAID not in once(**settings).stdout
    assert SAID in once(**settings).stdout

    manifest.write_text("{ }")
    assert SAID not in once(**settings).stdout
    log.write_text("who,what\na,b\n")
    assert SAID not in once(**settings).stdout
    assert SAID not in once(**settings | {"SCALREC_LOG__NAME": "other"}).stdout
    manifest.unlink()
    assert SAID not in once(**settings).stdout
    assert SAID in once(**settings).stdout
    (tmp_path / "cache" / "prepared-bundle").unlink()  # a new cache volume
    assert SAID not in once(**settings).stdout


def test_what_failed_is_done_again_and_its_code_is_told(once: Run) -> None:
    assert once(FAILS="3").returncode == 3
    assert SAID not in once().stdout
    assert once("model", FAILS="1").returncode == 1
    assert SAID not in once("model").stdout
