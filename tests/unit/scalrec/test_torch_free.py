"""Serving and the fleet start with what their container image holds: no torch, no scipy."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROBE = """
import sys
for name in sys.argv[1:]:
    sys.modules[name] = None  # importing it raises ImportError
import typer
from scalrec.cli import build_app
assert len(dict(typer.main.get_command(build_app()).commands)) > 10  # each is imported
import cloud_service.app, loadtest.proxy.__main__
"""


def left_out() -> list[str]:
    """Modules of the direct dependencies that requirements/runtime.txt does not name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    runtime = (ROOT / "requirements" / "runtime.txt").read_text()
    held = set(re.findall(r"^[a-z][\w-]*", runtime, re.MULTILINE))
    return sorted(name.replace("-", "_") for name in {*project["dependencies"]} - held)


def test_the_command_line_loads_with_what_the_image_holds() -> None:
    missing = left_out()
    assert {"torch", "transformers", "scipy"} <= set(missing)
    done = subprocess.run([sys.executable, "-c", PROBE, *missing], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
