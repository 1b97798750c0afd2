"""Terminals that cannot show every character: it is replaced, and nothing ends for its sake."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROWS = "".join(f"Zoë {n // 9},[/red]東 {n % 7},{1_600_000_000 + n}\n" for n in range(54))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_of_any_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "東.csv").write_text("user,item,time\n" + ROWS + "u,,[/red]é東\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "scalrec", "data", "show", "--log", "東.csv"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
    )
    told = done.stderr.decode(encoding)
    assert done.returncode == 2, told
    assert "Traceback" not in told
    assert ("東" if encoding == "utf-8" else "?") + ".csv, line 56: column" in told
    (tmp_path / "good.csv").write_text("user,item,time\n" + ROWS, encoding="utf-8")
    good = subprocess.run(
        [sys.executable, "-m", "scalrec", "data", "show", "--log", "good.csv"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
    )
    assert good.returncode == 0, good.stderr.decode(encoding)
    assert "split" in good.stdout.decode(encoding)
