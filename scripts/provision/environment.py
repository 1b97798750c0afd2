"""One cached Python environment, installed from its lock: resumable, one installer at a time."""

import fcntl
import importlib.util
import json
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launch import environments
from provision.commands import Cancelled, Commands, InstallError, Unsupported
from provision.progress import Step, StepDisplay
from shared.paths import default_cache_dir

NEEDED_BYTES = {
    "product": 4 * 2**30, "vllm": 5 * 2**30, "ray": 2**30, "mlflow": 2**29, "docs": 2**28,
}  # fmt: skip
TORCH = re.compile(r"^torch==[\w.]+$", re.MULTILINE)
# What must import before the environment counts as installed; compiled parts, mainly.
SMOKE_TEST = {
    "product": "import torch, onnxruntime, polars, redis, fastapi",
    "vllm": "import torch, transformers, vllm, vllm._C",
    "ray": "import ray",
    "mlflow": "import mlflow.tracking, sqlalchemy, alembic",
    "docs": "import mkdocs, material",
}
PIP = ("-m", "pip", "install", "--no-input", "--no-compile", "--no-warn-script-location",
       "--progress-bar", "off", "--retries", "3")  # fmt: skip


class CachedEnvironment:
    """The product's, vLLM's or another environment in the user's cache.

    ``.complete`` is written last: an environment without it is continued, not trusted.
    """

    def __init__(self, kind: str, commands: Commands, progress: StepDisplay) -> None:
        self.kind = kind
        self.path = environments.environment_dir(kind)
        self.python = self.path / "bin" / "python"
        self.log = default_cache_dir() / "logs" / f"{self.path.name}.log"
        self._locks = environments.default_lock_dir()
        self._commands = commands
        self._progress = progress

    def ensure(self) -> Path:
        """Install what is missing; returns the environment's interpreter.

        Raises:
            Unsupported: this machine cannot have it.
            InstallError: a step failed; running again continues.
        """
        if environments.is_complete(self.path):
            return self.python
        with lock_file(self.path.with_suffix(".lock"), self._progress, self.kind) as lock:
            if environments.is_complete(self.path):
                return self.python
            self.path.mkdir(exist_ok=True)
            failed = self.path / environments.FAILED_MARKER
            failed.unlink(missing_ok=True)
            started = time.monotonic()
            try:
                self._check_machine()
                self._install(lock)
            except InstallError as error:
                if not isinstance(error, Cancelled):
                    replace_text(failed, f"{error}\n")
                raise
            record = {"seconds": round(time.monotonic() - started, 1), "python": sys.version}
            replace_text(self.path / environments.COMPLETE_MARKER, json.dumps(record))
        return self.python

    def _check_machine(self) -> None:
        if self.kind == "vllm":
            machine = platform.machine()
            if sys.platform != "linux" or machine not in ("x86_64", "aarch64"):
                raise Unsupported(
                    f"vLLM's CPU build exists for Linux on x86_64 and aarch64; this is "
                    f"{platform.system()} on {machine}"
                )
        if importlib.util.find_spec("ensurepip") is None:
            raise InstallError(
                "this Python has no ensurepip, so it cannot make virtual environments; on Debian "
                f"and Ubuntu run: apt install python{sys.version_info[0]}.{sys.version_info[1]}"
                "-venv (or python3-venv)"
            )
        free = shutil.disk_usage(self.path).free
        if free < NEEDED_BYTES[self.kind] and not self._has_packages():
            raise InstallError(
                f"{self.path.parent} has {free / 2**30:.1f} GB free and the {self.kind} "
                f"environment needs {NEEDED_BYTES[self.kind] / 2**30:.0f} GB; free some space or "
                "set SCALREC_CACHE to a folder on another disk"
            )

    def _has_packages(self) -> bool:
        return any(self.path.glob("lib/python*/site-packages/torch-*.dist-info/INSTALLER"))

    def _install(self, lock: int) -> None:
        progress, kind = self._progress, self.kind
        if not any(self.path.glob("lib/python*/site-packages/pip-*.dist-info/INSTALLER")):
            with progress.step(kind, "virtual environment") as step:
                # Without --clear: a half-made one is completed in place.
                self._commands.run(
                    [sys.executable, "-m", "venv", str(self.path)], self.log, step=step, hold=lock
                )
        remove_half_installed(self.path)
        files = [self._locks / name for name in environments.LOCKS[kind]]
        if kind not in environments.LAID_OVER:
            pinned = TORCH.search(files[0].read_text(encoding="utf-8"))
            if pinned is None:
                raise InstallError(f"{files[0]} does not pin torch==VERSION")
            with progress.step(kind, pinned.group()) as step:
                self._pip(lock, step, *self._torch_arguments(pinned.group(), files[0]))
        with progress.step(kind, f"{_count_pins(files)} packages") as step:
            self._pip(lock, step, "--no-deps", *(a for f in files for a in ("-r", str(f))))
        with progress.step(kind, "byte-compile") as step:
            # pip compiles on one core; this takes all. Without it every later start is slower.
            # (Some packages ship templates that are not valid Python: its exit code says nothing.)
            code = (
                "import compileall, sysconfig; "
                "compileall.compile_dir(sysconfig.get_path('purelib'), quiet=2, workers=0)"
            )
            self._commands.run([str(self.python), "-c", code], self.log, step=step, hold=lock)
        with progress.step(kind, "import check") as step:
            self._commands.run(
                [str(self.python), "-c", SMOKE_TEST[kind]], self.log, step=step, hold=lock
            )

    @staticmethod
    def _torch_arguments(pin: str, lock_file: Path) -> list[str]:
        if index := os.environ.get("SCALREC_TORCH_INDEX"):
            # A CPU index; what torch itself needs is in the lock and comes with the rest.
            return ["--no-deps", "--index-url", index, pin]
        # Without one, pip may find a CUDA build, whose NVIDIA packages are not in the lock.
        return ["-c", str(lock_file), pin]

    def _pip(self, lock: int, step: Step, *arguments: str) -> None:
        self._commands.run(
            [str(self.python), *PIP, *arguments],
            self.log,
            step=step,
            hold=lock,
        )


def remove_half_installed(environment: Path) -> list[str]:
    """Forget packages whose installation was cut off, so that pip installs them again.

    pip writes a package's files first and its ``INSTALLER`` and ``RECORD`` last; a ``dist-info``
    folder without them would be taken for an installed package.
    """
    removed = []
    for info in sorted(environment.glob("lib/python*/site-packages/*.dist-info")):
        if not ((info / "INSTALLER").is_file() and (info / "RECORD").is_file()):
            shutil.rmtree(info)
            removed.append(info.name)
    return removed


def _count_pins(files: list[Path]) -> int:
    return sum("==" in line for f in files for line in f.read_text(encoding="utf-8").splitlines())


def replace_text(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


@contextmanager
def lock_file(path: Path, progress: StepDisplay, name: str) -> Iterator[int]:
    """Hold an exclusive lock; says so when it has to wait for another installer."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a")
    except OSError as error:
        raise InstallError(
            f"cannot write to the cache folder {path.parent} ({error.strerror}); make it writable "
            "or set SCALREC_CACHE to a folder that is"
        ) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with progress.step(name, "waiting for another installer"):
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle.fileno()


def prune(progress: StepDisplay) -> None:
    """Remove cached environments that this checkout's locks no longer name."""
    keep = {environments.environment_dir(kind).name for kind in environments.LOCKS}
    root = default_cache_dir() / "envs"
    for old in sorted(p for p in root.glob("*-*") if p.is_dir() and p.name not in keep):
        with lock_file(old.with_suffix(".lock"), progress, "prune"):
            (old / environments.COMPLETE_MARKER).unlink(missing_ok=True)
            shutil.rmtree(old)
        old.with_suffix(".lock").unlink(missing_ok=True)
        progress.say(f"removed {old}")
