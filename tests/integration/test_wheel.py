"""The wheel, installed where nothing else is: what it declares is enough for a device."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from scalrec.rooms import ROOMS
from tests.support.bundles import make_bundle
from tests.support.devices import CONTEXT, new_device, observe
from tests.support.installed import ROOT, closure

pytestmark = pytest.mark.slow
PAST = [3, 7, 7, 12, 40]
ABSENT = ("fastapi", "jwt", "onnx", "opentelemetry", "polars", "redis", "structlog", "torch")
ANSWER = """
import importlib.util, json, sys
from pathlib import Path
from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.device import Device
from device_runtime.models import DeviceModels
from device_runtime.state.history import RequestContext
from shared.bundle import load_bundle
path, past, moment, absent = sys.argv[1], *map(json.loads, sys.argv[2:])
bundle = load_bundle(Path(path), device=True)
device = Device("ann", DeviceModels.load(bundle), TemplateAbstract(bundle.catalogue()))
for place, item in enumerate(past):
    device.observe(item, 3600.0 * place, float(place))
answer = device.request(RequestContext(*moment), k=5)
found = [name for name in absent if importlib.util.find_spec(name)]
print(json.dumps([answer.source, answer.items.tolist(), found]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, from links to what goes into it: building leaves files behind."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("pyproject.toml", "README.md", "LICENSE", *ROOMS):
        (source / name).symlink_to(ROOT / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*pip, "--wheel-dir", str(target), str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    [made] = target.glob("scalrec-*.whl")
    return made


@pytest.fixture(scope="module")
def venv(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and what it declares without extras, from this one's files.

    No index is asked: `scripts/try_wheel.py` does that.
    """
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    done = subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", str(wheel)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    packages = next(folder.glob("lib/python*/site-packages"))
    wanted = [Requirement(line) for line in _metadata(wheel).get_all("Requires-Dist") or ()]
    core = [one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    for name in closure(core):
        files = distribution(name).files or ()
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            if not (link := packages / top).exists():
                link.symlink_to(Path(str(distribution(name).locate_file(top))))
    checked = subprocess.run([*pip, "check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    return folder


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def scalrec(venv: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(venv / "bin" / "scalrec"), *arguments],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_wheel_holds_every_room_whole(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == set(ROOMS)
    tracked = subprocess.run(
        ["git", "ls-files", "-z", *ROOMS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    wanted = {name for name in tracked.stdout.split("\0") if name}
    assert wanted - names == set()
    assert {f"{room}/py.typed" for room in ROOMS} <= names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_metadata_is_the_project_s(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    told = _metadata(wheel)
    assert (told["Version"], told["License-Expression"]) == (project["version"], "Apache-2.0")
    assert told["Requires-Python"].replace(" ", "") in (">=3.11,<3.14", "<3.14,>=3.11")
    assert set(told.get_all("Provides-Extra")) == set(project["optional-dependencies"])


def test_the_program_starts_and_says_what_it_lacks(venv: Path, wheel: Path, tmp_path: Path) -> None:
    version = scalrec(venv, tmp_path, "--version")
    assert version.stdout == f"scalrec {_metadata(wheel)['Version']}\n", version.stderr
    assert "simulate" in scalrec(venv, tmp_path, "--help").stdout
    assert "Device profiles" in scalrec(venv, tmp_path, "profiles").stdout
    for command, extra in {"serve": "cloud", "report": "fleet", "train": "train"}.items():
        lacking = scalrec(venv, tmp_path, command)
        assert lacking.returncode == 2
        assert f"scalrec[{extra}]" in lacking.stderr
        assert "Traceback" not in lacking.stderr


def test_a_device_answers_as_it_does_among_all_packages(venv: Path, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    device = new_device(bundle)
    observe(device, PAST)
    here = device.request(CONTEXT, k=5)
    arguments = [PAST, [CONTEXT.time, CONTEXT.hour_of_week], ABSENT]
    done = subprocess.run(
        [venv / "bin/python", "-I", "-c", ANSWER, bundle.path, *map(json.dumps, arguments)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [here.source, here.items.tolist(), []]
