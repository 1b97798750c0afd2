"""The doctor looks at the machine first, and names what cannot be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from scalrec import machine
from scalrec.machine import broken_packages, required, unfit_python

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
    assert done.stderr.count("make env") == len(BROKEN)  # this is a checkout
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


def test_outside_a_checkout_only_what_was_chosen_must_be_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever installs the package for a device has no torch, and misses none."""
    there = metadata.packages_distributions()
    without = {module: names for module, names in there.items() if "torch" not in names}
    monkeypatch.setattr(metadata, "packages_distributions", lambda: without)
    assert "torch" in required(whole=True)
    chosen = required(whole=False)
    assert "torch" not in chosen
    assert {"numpy", "onnxruntime", "polars"} <= set(chosen)


def test_advice_is_for_the_kind_of_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "in_checkout", lambda: False)
    [found] = broken_packages({"no_such_module": "no-such-package"})
    assert "pip install --force-reinstall no-such-package" in found


def test_pythons_that_scalrec_does_not_run_on_are_refused() -> None:
    [problem] = unfit_python((3, 14))
    assert problem.startswith("this is Python 3.14; scalrec needs 3.11 to 3.13")
    assert [*unfit_python((3, 11)), *unfit_python((3, 13))] == []


def test_what_works_is_not_mentioned() -> None:
    assert not list(broken_packages({"json": "json", "typing": "typing"}))
    assert required().keys() >= {"torch", "polars", "onnxruntime", "yaml", "jwt"}
