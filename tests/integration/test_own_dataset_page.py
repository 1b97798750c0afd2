"""docs/own-dataset.md shows what its commands print, on the sample it speaks of."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.plays import write_plays

PAGE = Path(__file__).parents[2] / "docs" / "own-dataset.md"
SESSIONS = re.findall(r"^```console\n\$ scalrec (.*)\n((?:.*\n)+?)```$", PAGE.read_text(), re.M)


@pytest.mark.parametrize(("command", "shown"), SESSIONS, ids=[each[0] for each in SESSIONS])
def test_a_command_prints_what_the_page_shows(command: str, shown: str, tmp_path: Path) -> None:
    write_plays(tmp_path)
    bare = {name: value for name, value in os.environ.items() if not name.startswith("SCALREC_")}
    done = subprocess.run(
        [sys.executable, "-m", "scalrec", *shlex.split(command)],
        cwd=tmp_path,
        env=bare | {"PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
    )
    lines = (done.stdout + done.stderr).splitlines()
    assert "\n".join(line.rstrip() for line in lines) == shown.rstrip("\n")


def test_the_page_shows_an_error_and_a_log_that_loads() -> None:
    assert [command.startswith("data show --log plays.csv") for command, _ in SESSIONS] == [
        True
    ] * 2
    assert ["DataError" in shown for _, shown in SESSIONS] == [True, False]
