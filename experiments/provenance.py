"""Where figures come from: revision, code, machine."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

from experiments.study import place_of
from shared.errors import ConfigError
from training.background import cores
from training.stages.code import code_of

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("shared", "cloud_service", "device_runtime", "launch", "training")
# What can change a figure; generated documents cannot.
CODE = (
    *PACKAGES,
    "loadtest",
    "experiments",
    "reports",
    "scalrec",
    "pyproject.toml",
    "requirements",
)


def code_hash(study: str, root: Path = ROOT) -> str:
    """Hash over the packages that a study can be made of; comments are free.

    Args:
        study: see ``experiments.study.find_study``.

    Raises:
        ConfigError: the study's module does not exist.
    """
    module = place_of(study).partition(":")[0]
    if not root.joinpath(*module.split(".")).with_suffix(".py").is_file():
        raise ConfigError(f"no module {module} under {root}")
    packages = {*PACKAGES, module.partition(".")[0]}
    return code_of((name for name in packages if (root / name).is_dir()), root)


def changed_code(root: Path = ROOT) -> list[str]:
    """Files of the code that differ from the commit, or are not part of it; sorted.

    Outside a git checkout there is nothing to compare with: the list is empty.
    """
    done = _git(root, "status", "--porcelain", "--untracked-files=all", "--", *CODE)
    return [] if done is None else sorted(line[3:] for line in done.splitlines())


def revision(root: Path = ROOT) -> str | None:
    """Commit of the checkout, "+changes" if its code is edited; None outside a checkout."""
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    if commit is None:
        return None
    return commit.strip() + ("+changes" if changed_code(root) else "")


def machine() -> str:
    """Processor and cores, and the Python that ran."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(li.partition(":")[2].strip() for li in lines if li.startswith("model name"))
    except (OSError, StopIteration):
        pass  # not Linux, or a processor without a name
    return f"{model}, {cores()} cores, Python {platform.python_version()}"


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
