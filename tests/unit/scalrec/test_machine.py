"""The doctor looks at the machine first, and names what cannot be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scalrec.machine import broken_packages, required

NOT_LOADED = "ImportError: libarrow.so.2600: cannot open shared object file"
BROKEN = {
    "polars": 'raise ImportError("libarrow.so.2600: cannot open shared object file\\nat line 2")',
    "onnxruntime": "import os, signal; os.kill(os.getpid(), signal.SIGILL)",
    "torch": "raise OSError('[Errno 12] Cannot allocate memory')",
}


@pytest.fixture
def path_of(tmp_path: Path) -> str:
    """A PYTHONPATH on which some packages are broken and the others empty, to be quick."""
    for module in required():
        (tmp_path / f"{module}.py").write_text(BROKEN.get(module, ""))
    return str(tmp_path)


def scalrec(path: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scalrec", *arguments],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_doctor_names_every_package_that_cannot_be_imported(path_of: str) -> None:
    done = scalrec(path_of, "doctor")

    assert done.returncode == 1
    assert "polars" in done.stderr
    assert NOT_LOADED in done.stderr
    assert "onnxruntime" in done.stderr
    assert "the process ended with -4" in done.stderr
    assert "Cannot allocate memory" in done.stderr
    assert done.stderr.count("make env") == len(BROKEN)
    assert done.stderr.count("\u2717") == len(BROKEN)
    assert "Traceback" not in done.stderr + done.stdout


def test_other_commands_point_to_the_doctor(tmp_path: Path) -> None:
    (tmp_path / "msgspec.py").write_text("raise ImportError('undefined symbol: PyX')")
    done = scalrec(str(tmp_path), "profiles")

    assert done.returncode == 1
    assert "undefined symbol: PyX" in done.stderr
    assert "scalrec doctor" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_package_that_is_not_installed_is_said_to_be_missing() -> None:
    [found] = broken_packages({"no_such_module": "no-such-package"})
    assert found.startswith("no-such-package is not installed: run `make env`")


def test_what_works_is_not_mentioned() -> None:
    assert not list(broken_packages({"json": "json", "typing": "typing"}))
    assert required().keys() >= {"torch", "polars", "onnxruntime", "yaml", "jwt"}
