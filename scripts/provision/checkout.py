"""The checkout's own ``.venv``: sees the cached product environment, has scalrec installed."""

import hashlib
import json
import shutil
import sys
from pathlib import Path

from provision.commands import Commands, InstallError
from provision.environment import lock_file, replace_text
from provision.progress import StepDisplay

MARKER = "scalrec-bootstrap.json"


class Checkout:
    """A thin virtual environment in the checkout, made in seconds.

    A ``.pth`` file in it adds the cached environment's packages, so that checkouts share those
    while each has its own editable scalrec.
    """

    def __init__(self, root: Path, commands: Commands, progress: StepDisplay) -> None:
        self.root = root
        self.venv = root / ".venv"
        self.python = self.venv / "bin" / "python"
        self._commands = commands
        self._progress = progress

    def ensure(self, product: Path) -> Path:
        """Make or refresh ``.venv`` on top of the product environment; returns its interpreter."""
        wanted = self._state(product)
        if self._found() == wanted:
            return self.python
        lock = product.parent / f"checkout-{_short_hash(str(self.root).encode())}.lock"
        with lock_file(lock, self._progress, "checkout"):
            if self._found() != wanted:
                self._make(product, wanted)
        return self.python

    def add(self, name: str, environment: Path) -> None:
        """Let ``.venv``, once made, also see another cached environment's packages.

        Files are read by name: what both have (setuptools, for one) is the product's.
        """
        _add_packages(_site_packages(self.venv) / f"scalrec-over-{name}.pth", environment)

    def _state(self, product: Path) -> dict[str, str]:
        pyproject = self.root / "pyproject.toml"
        if not pyproject.is_file():
            raise InstallError(f"{pyproject} is missing: run this from a whole checkout")
        return {
            "environment": str(product),
            "pyproject": _short_hash(pyproject.read_bytes()),
            "root": str(self.root),
        }

    def _found(self) -> object:
        """What the marker says, or None if the environment is not usable."""
        try:
            found = json.loads((self.venv / MARKER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if self.python.exists() else None

    def _make(self, product: Path, state: dict[str, str]) -> None:
        marker = self.venv / MARKER
        if self.venv.exists() and any(self.venv.iterdir()) and not marker.exists():
            raise InstallError(
                f"{self.venv} exists and was not made by this script; move it away, then run again"
            )
        with self._progress.step("checkout", ".venv with scalrec, editable") as step:
            shutil.rmtree(self.venv, ignore_errors=True)
            self.venv.mkdir(parents=True)
            replace_text(marker, "{}")  # ours, not finished
            log = product.parent.parent / "logs" / "checkout.log"
            make_venv = [sys.executable, "-m", "venv", "--without-pip", str(self.venv)]
            self._commands.run(make_venv, log, step=step)
            _add_packages(_site_packages(self.venv) / "scalrec-environment.pth", product)
            pip = [str(self.python), "-m", "pip", "install", "--no-input", "--no-deps"]
            self._commands.run([*pip, "--no-build-isolation", "-e", str(self.root)], log, step=step)
            replace_text(marker, json.dumps(state))


def _add_packages(file: Path, environment: Path) -> None:
    packages = _site_packages(environment)
    replace_text(file, f"import site; site.addsitedir({str(packages)!r})\n")


def _site_packages(environment: Path) -> Path:
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    return environment / "lib" / version / "site-packages"


def _short_hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
