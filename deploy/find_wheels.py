"""Lay a CPU build of torch beside the images' sources, if pip here knows a folder that has it.

An image build sees nothing of this machine but the checkout. Without such a wheel the build asks
pip's index for torch, which on x86_64 may mean the CUDA build (several GB); with
SCALREC_TORCH_INDEX set it asks that index instead.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WHEELS = ROOT / "deploy" / "wheels"
LOCK = ROOT / "requirements" / "vllm.txt"


def main() -> None:
    pinned = re.search(r"^torch==([\w.]+)$", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    if pinned is None:
        sys.exit(f"{LOCK} does not pin torch==VERSION")
    name = re.compile(
        rf"torch-{re.escape(pinned[1])}\+cpu-cp311-.*linux.*_{re.escape(platform.machine())}\.whl"
    )
    wanted = [path for folder in wheel_folders() for path in folder.glob("torch-*.whl")]
    found = next((path for path in wanted if name.fullmatch(path.name)), None)
    for old in WHEELS.glob("torch-*.whl"):
        if not name.fullmatch(old.name):
            old.unlink()  # of another lock
    if any(WHEELS.glob("torch-*.whl")) or os.environ.get("SCALREC_TORCH_INDEX"):
        return
    if found is None:
        print(
            "note: no CPU build of torch on this machine, so the images may get the CUDA build "
            "(several GB); SCALREC_TORCH_INDEX=ADDRESS names an index that has one"
        )
        return
    partial = WHEELS / f"{found.name}.partial"
    shutil.copyfile(found, partial)
    partial.replace(WHEELS / found.name)
    print(f"the images use {found.name}")


def wheel_folders() -> list[Path]:
    """Folders that pip is configured to find wheels in."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    named = re.findall(r"find-links='([^']*)'", listed)
    named.append(os.environ.get("PIP_FIND_LINKS", ""))
    paths = [Path(part.removeprefix("file://")) for text in named for part in text.split()]
    return [path for path in dict.fromkeys(paths) if path.is_dir()]


if __name__ == "__main__":
    main()
