"""Commands start with what their extra brings; serving and the fleet need no torch, no scipy.

An installation with the extra `fleet` holds what the runtime image does.
"""

import re
import subprocess
import sys

import pytest

from scalrec.command_list import COMMANDS
from scalrec.extras import COMMAND_EXTRAS
from tests.support.installed import ROOT, closure, declared, modules_of

PROBE = """
import sys
missing, names = (words.split() for words in sys.argv[1:])
for name in missing:
    sys.modules[name] = None  # importing it raises ModuleNotFoundError
from typer.main import get_command
from scalrec.cli import build_app
commands = get_command(build_app()).commands
print(*(commands[name].name for name in names))
import device_runtime.device, device_runtime.cloud.link
"""
SERVING = "import cloud_service.app, loadtest.proxy.__main__\n"


def left_out(extra: str) -> set[str]:
    """Modules that an installation with ``extra`` need not have and this one has."""
    there = closure(declared(extra))
    return modules_of(closure(declared("train")) - there)


def loads(extra: str, names: list[str], program: str = PROBE) -> None:
    missing = left_out(extra)
    assert {"torch", "transformers", "scipy"} <= missing
    done = subprocess.run(
        [sys.executable, "-c", program, " ".join(missing), " ".join(names)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == names


@pytest.mark.parametrize("extra", ["", "cloud"])
def test_commands_load_with_what_their_extra_brings(extra: str) -> None:
    names = [name for name, needs in COMMAND_EXTRAS.items() if (needs or "") in ("", extra)]
    assert names
    loads(extra, names)


def test_all_commands_load_with_what_the_image_holds() -> None:
    loads("fleet", list(COMMANDS), PROBE + SERVING)


def test_the_image_holds_what_the_extra_brings() -> None:
    runtime = (ROOT / "requirements" / "runtime.txt").read_text()
    assert set(re.findall(r"^[a-z][\w-]*", runtime, re.MULTILINE)) == set(declared("fleet"))
    assert "fastapi" in left_out("")
    assert "polars" in left_out("cloud")
