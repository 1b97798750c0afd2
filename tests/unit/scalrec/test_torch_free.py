"""Serving and the fleet start without torch: their container image does not hold it."""

import subprocess
import sys

PROBE = """
import sys
sys.modules["torch"] = sys.modules["transformers"] = None  # importing them raises ImportError
from scalrec.cli import build_app
build_app()
import cloud_service.app, loadtest.proxy.__main__
"""


def test_the_command_line_loads_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
