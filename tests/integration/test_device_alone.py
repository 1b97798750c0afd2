"""What ships runs alone: the device with nothing installed but what it needs."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest

from tests.support.bundles import make_bundle
from tests.support.devices import CONTEXT, new_device, observe
from tests.support.installed import closure

ROOT = Path(__file__).parents[2]
NEEDS = ("httpx2", "msgspec", "numpy", "onnxruntime", "pydantic")
OURS = ("device_runtime", "shared")
ABSENT = (
    "cloud_service", "fastapi", "httpx", "jwt", "loadtest", "onnx", "opentelemetry", "polars",
    "pyarrow", "pydantic_settings", "redis", "scalrec", "scipy", "starlette", "torch", "training",
    "transformers",
)  # fmt: skip
PAST = [3, 7, 7, 12, 40]

PRELUDE = """
import importlib, importlib.util, json, pkgutil, sys
sys.path.insert(0, sys.argv[1])
"""
ABSENCES = """
print(json.dumps([name for name in json.loads(sys.argv[2]) if importlib.util.find_spec(name)]))
"""
IMPORTS = """
import device_runtime
failed = {}
for module in pkgutil.walk_packages(device_runtime.__path__, "device_runtime."):
    try:
        importlib.import_module(module.name)
    except ImportError as error:
        failed[module.name] = str(error)
print(json.dumps(failed))
"""
ANSWER = """
from pathlib import Path
from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.device import Device
from device_runtime.state.history import RequestContext
from device_runtime.models import DeviceModels
from shared.bundle import load_bundle
bundle = load_bundle(Path(sys.argv[2]), device=True)
device = Device("ann", DeviceModels.load(bundle), TemplateAbstract(bundle.catalogue()))
for place, item in enumerate(json.loads(sys.argv[3])):
    device.observe(item, 3600.0 * place, float(place))
answer = device.request(RequestContext(*json.loads(sys.argv[4])), k=5)
print(json.dumps([answer.source, answer.items.tolist()]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages that holds the device, what it requires, and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    for name in sorted(closure(NEEDS)):
        files = distribution(name).files
        if files is None:
            raise PackageNotFoundError(name)
        for top in {file.parts[0] for file in files} - {"..", "__pycache__"}:
            if not (link := folder / top).is_symlink():
                link.symlink_to(Path(str(distribution(name).locate_file(top))))
    for package in OURS:
        (folder / package).symlink_to(ROOT / package)
    return folder


def alone(site: Path, program: str, *arguments: str) -> Any:
    """What ``program`` prints, as JSON, run where only ``site`` and the standard library are."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PRELUDE + program, str(site), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_nothing_else_is_there(site: Path) -> None:
    assert alone(site, ABSENCES, json.dumps(ABSENT)) == []
    assert alone(site, ABSENCES, json.dumps([*OURS, *NEEDS])) == [*OURS, *NEEDS]


def test_every_module_of_the_device_can_be_imported(site: Path) -> None:
    assert alone(site, IMPORTS) == {}


def test_a_device_answers_as_it_does_among_all_packages(site: Path, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    device = new_device(bundle)
    observe(device, PAST)
    here = device.request(CONTEXT, k=5)
    moment = json.dumps([CONTEXT.time, CONTEXT.hour_of_week])
    there = alone(site, ANSWER, str(bundle.path), json.dumps(PAST), moment)
    assert there == [here.source, here.items.tolist()]
