"""Where the Python environments live, and how the vLLM one is found.

Needs nothing installed: ``scripts/bootstrap.py`` runs this first of all, so that the program which
makes an environment and the one which looks for it compute the same place.
"""

import hashlib
import os
import platform
import sys
from pathlib import Path

from shared.errors import LaunchError
from shared.paths import default_cache_dir

LOCKS: dict[str, tuple[str, ...]] = {
    "product": ("product.txt", "product-nodeps.txt"),
    "vllm": ("vllm.txt",),
    "ray": ("ray.txt",),
    "mlflow": ("mlflow.txt",),
    "docs": ("docs.txt",),
}
# Seen by the product's interpreter, so with the same pins where both have one.
LAID_OVER = ("ray", "mlflow", "docs")
COMPLETE_MARKER = ".complete"
FAILED_MARKER = ".failed"
INSTALL_COMMAND = "python3 scripts/bootstrap.py vllm"


class EnvironmentMissing(LaunchError):
    """A Python environment is needed and is not there; the message says how to get it."""


def default_lock_dir() -> Path:
    """The checkout's ``requirements/`` folder."""
    return Path(__file__).resolve().parents[1] / "requirements"


def environment_key(kind: str, lock_dir: Path) -> str:
    """``product-3f2a...``: names an environment by what goes into it.

    Covers the bytes of the kind's lock files, the Python version (major.minor), its
    implementation, the operating system and the processor architecture.

    Raises:
        EnvironmentMissing: a lock file cannot be read (not a checkout of the repository).
    """
    digest = hashlib.sha256()
    for name in LOCKS[kind]:
        try:
            digest.update(name.encode() + b"\0" + (lock_dir / name).read_bytes() + b"\0")
        except OSError as error:
            raise EnvironmentMissing(
                f"cannot read the lock file {lock_dir / name} ({error.strerror}): environments "
                "are found from a checkout of the repository; elsewhere name an interpreter that "
                "has vLLM (embedder.python), or set embedder.backend=transformers"
            ) from error
    major, minor = sys.version_info[:2]
    build = f"{sys.implementation.name}-{major}.{minor}-{sys.platform}-{platform.machine()}"
    digest.update(build.encode())
    return f"{kind}-{digest.hexdigest()[:16]}"


def environment_dir(kind: str, *, cache: Path | None = None, lock_dir: Path | None = None) -> Path:
    """The folder of an environment, whether or not it exists yet."""
    key = environment_key(kind, lock_dir or default_lock_dir())
    return (cache or default_cache_dir()) / "envs" / key


def is_complete(environment: Path) -> bool:
    """True when the environment's installation ended well and its interpreter is still there."""
    return (environment / COMPLETE_MARKER).is_file() and (environment / "bin" / "python").exists()


def find_vllm_python(
    configured: Path | str | None = None,
    *,
    cache: Path | None = None,
    lock_dir: Path | None = None,
) -> Path:
    """The interpreter that has vLLM: the configured one, else the bootstrap's.

    Args:
        configured: an interpreter, or the folder of an environment, from settings.

    Raises:
        EnvironmentMissing: nothing usable there; names the reason and the command to run.
    """
    if configured is not None and str(configured):
        path = Path(configured).expanduser()
        python = path / "bin" / "python" if path.is_dir() else path
        if not os.access(python, os.X_OK) or python.is_dir():
            raise EnvironmentMissing(
                f"the configured vLLM interpreter {python} is not an executable file; correct the "
                f"setting, or unset it and run: {INSTALL_COMMAND}"
            )
        return python
    environment = environment_dir("vllm", cache=cache, lock_dir=lock_dir)
    if is_complete(environment):
        return environment / "bin" / "python"
    failed = environment / FAILED_MARKER
    if failed.is_file():
        raise EnvironmentMissing(
            f"vLLM could not be installed: {failed.read_text(encoding='utf-8').strip()}\n"
            f"To try again, run: {INSTALL_COMMAND}"
        )
    raise EnvironmentMissing(
        f"the vLLM environment {environment} is not installed; run: {INSTALL_COMMAND}"
    )
