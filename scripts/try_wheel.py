"""Try the package as others get it: build the wheel, install it alone, let a device answer.

    python3.12 scripts/try_wheel.py                  what a device needs
    python3.12 scripts/try_wheel.py --extra fleet    and then: every command starts with this extra

Needs pip and a package index, as pip is configured, and nothing else: all happens in a folder that
is removed at the end. Says how long each step took; exit code 1 if one fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What an installation for a device must do without.
ABSENT = (
    "altair", "fastapi", "jwt", "onnx", "opentelemetry", "polars", "pyarrow", "redis", "scipy",
    "starlette", "structlog", "torch", "transformers", "uvicorn",
)  # fmt: skip
LONE = f"""
import importlib.util
import scalrec
found = [name for name in {ABSENT!r} if importlib.util.find_spec(name)]
assert not found, f"installed without being asked for: {{found}}"
"""
MAKE_BUNDLE = """
import sys
from pathlib import Path
from tests.support.bundles import make_bundle
make_bundle(Path(sys.argv[1]))
"""
ANSWER = """
import sys
from pathlib import Path
from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.device import Device
from device_runtime.models import DeviceModels
from device_runtime.state.history import RequestContext
from shared.bundle import load_bundle
bundle = load_bundle(Path(sys.argv[1]), device=True)
device = Device("ann", DeviceModels.load(bundle), TemplateAbstract(bundle.catalogue()))
for place, item in enumerate([3, 7, 12]):
    device.observe(item, 3600.0 * place, float(place))
answer = device.request(RequestContext(20_000.0, 5.0), k=5)
assert len(answer.items) == 5, answer
print("   items", *answer.items.tolist())
"""
START = """
import sys
from typer.main import get_command
from scalrec.cli import build_app
commands = get_command(build_app()).commands
needed = dict(zip(["", "cloud", "fleet", "train"], range(4)))
from scalrec.extras import COMMAND_EXTRAS
print("   started", *(commands[name].name for name, extra in COMMAND_EXTRAS.items()
                      if needed[extra or ""] <= needed[sys.argv[1]]))
"""


class Trial:
    """Commands in a folder of their own, each timed; the first that fails ends the trial."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "venv" / "bin" / "python"

    def run(self, what: str, *command: object, ends: int = 0, path: str = "") -> str:
        """Run a command, which must end with the exit code ``ends``; returns what it says."""
        started = time.monotonic()
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [str(part) for part in command],
            cwd=self.folder,
            env=environ | ({"PYTHONPATH": path} if path else {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != ends:
            sys.exit(f"{what}: exit code {done.returncode}, not {ends}\n{done.stdout[-4000:]}")
        print(f"{time.monotonic() - started:6.1f} s  {what}", flush=True)
        return done.stdout

    def pip(self, what: str, *arguments: object) -> None:
        self.run(what, self.python, "-m", "pip", "install", "--quiet", *arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--extra", choices=["cloud", "fleet", "train"])
    extra = parser.parse_args().extra
    print(f"Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder))
        wheel = build(trial)
        trial.run("virtual environment", sys.executable, "-m", "venv", trial.python.parents[1])
        trial.pip("install what a device needs", wheel)
        try_device(trial)
        if extra:
            trial.pip(f"install the extra {extra}", f"scalrec[{extra}] @ {wheel.as_uri()}")
            print(trial.run("commands start", trial.python, "-c", START, extra).rstrip())


def build(trial: Trial) -> Path:
    """The wheel of this checkout, from links to what goes into it: building leaves files behind."""
    source, folder = trial.folder / "source", trial.folder / "dist"
    source.mkdir()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    rooms = project["tool"]["setuptools"]["packages"]["find"]["include"]
    for name in ("pyproject.toml", "README.md", "LICENSE", *(room.rstrip("*") for room in rooms)):
        (source / name).symlink_to(ROOT / name)
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps")
    trial.run("build the wheel", *pip, "--wheel-dir", folder, source)
    [wheel] = folder.glob("*.whl")
    print(f"   {wheel.name}, {wheel.stat().st_size / 1024:.0f} KiB")
    return wheel


def try_device(trial: Trial) -> None:
    """The program starts and says what it lacks; a device answers from a bundle."""
    program = trial.python.parent / "scalrec"
    trial.run("import scalrec, nothing more is there", trial.python, "-c", LONE)
    version = trial.run("scalrec --version", program, "--version").strip()
    trial.run("scalrec --help", program, "--help")
    trial.run("scalrec profiles", program, "profiles")
    told = trial.run("scalrec serve says what it lacks", program, "serve", ends=2)
    if "scalrec[cloud]" not in told or "Traceback" in told:
        sys.exit(f"`scalrec serve` does not name the extra:\n{told}")
    # The makers of test bundles need onnx, which is kept out of the device's environment.
    tools, bundle = trial.folder / "tools", trial.folder / "bundle"
    trial.pip("install onnx aside", "--target", tools, "onnx>=1.23,<2")
    making = os.pathsep.join((str(tools), str(ROOT)))
    trial.run("make a bundle", trial.python, "-c", MAKE_BUNDLE, bundle, path=making)
    print(trial.run("a device answers", trial.python, "-c", ANSWER, bundle).rstrip())
    print(f"   {version}")


if __name__ == "__main__":
    main()
