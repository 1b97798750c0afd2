"""A device and its way to a cloud need what `device_runtime` needs, and the program's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.bundles import make_bundle

# Packages of the cloud service, of fleets and of training.
ABSENT = (
    "altair", "fastapi", "hiredis", "huggingface_hub", "jinja2", "jwt", "onnx",
    "onnxscript", "peft", "polars", "prometheus_client", "psutil", "pyarrow", "redis",
    "safetensors", "scipy", "starlette", "structlog", "tokenizers", "torch", "transformers",
    "uvicorn", "vl_convert", "yaml",
)  # fmt: skip
PROGRAM = """
import asyncio, sys
for name in sys.argv[2:]:
    sys.modules[name] = None  # importing it raises ImportError
import scalrec

device = scalrec.Device.load(sys.argv[1], "ann")
device.observe(device.catalogue.ids[3], 1_000_000.0)
assert device.recommend(3, 1_000_060.0).source == "local"

with scalrec.Cloud("http://127.0.0.1:9", token="t", settings={"device.link.attempts": 1}) as cloud:
    print(device.refresh_now(cloud).outcome)
"""


def test_a_device_runs_where_only_its_own_packages_are(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "bundle", *ABSENT],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "network"
