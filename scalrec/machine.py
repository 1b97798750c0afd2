"""What `scalrec doctor` looks at before anything is imported that may be what is broken.

The standard library alone: whether this machine and its packages can carry the rest. Each package
is imported in a process of its own, since one that was built for another processor ends it.
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from scalrec.extras import EXTRAS, normal, requirements
from scalrec.rooms import ROOMS

WANTED_PYTHON = ((3, 11), (3, 13))  # the first and the last; pyproject.toml says the same
IMPORTS_S = 300.0  # for all of them together, on a machine that is busy
ROOT = Path(__file__).resolve().parents[1]
CHECKOUT_EXTRAS = ("cloud", "fleet", "train")  # what requirements/product.txt holds
# Imports one module after another; tells each before and after.
_TRY = """
import importlib, sys
for name in sys.argv[1:]:
    print("begin", name, flush=True)
    try:
        importlib.import_module(name)
    except BaseException as error:
        words = str(error).strip().splitlines() or [""]
        print("fails", name, f"{type(error).__name__}: {words[0]}", flush=True)
    else:
        print("works", name, flush=True)
"""


def problems() -> Iterator[str]:
    """What is wrong with this machine, each with what to do; nothing if it will do."""
    yield from unfit_python(sys.version_info[:2])
    if sys.platform == "linux" and platform.machine() == "x86_64" and not _has("avx2"):
        yield (
            "this processor (or virtual machine) has no AVX2 instructions, which polars and torch "
            "are built for: use another machine, or let the virtual one pass them on"
        )
    yield from overlaid_rooms(metadata.packages_distributions())
    yield from broken_packages(required())


def unfit_python(found: tuple[int, int]) -> Iterator[str]:
    """What is wrong with a Python of this version."""
    first, last = WANTED_PYTHON
    if not first <= found <= last:
        yield (
            f"this is Python {found[0]}.{found[1]}; scalrec needs {first[0]}.{first[1]} to "
            f"{last[0]}.{last[1]}: make an environment with one of those"
        )


def cannot_start(error: ImportError) -> str:
    """What to say where a command cannot be imported."""
    return (
        f"scalrec cannot start: {error}\n"
        "`scalrec doctor` says which packages cannot be imported here, and how to mend them"
    )


def overlaid_rooms(owners: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Packages of ours into which another distribution has installed files, too.

    Args:
        owners: distributions by top-level package.
    """
    for room in ROOMS:
        for other in sorted({normal(owner) for owner in owners.get(room, ())} - {"scalrec"}):
            yield (
                f"{other} has installed files into the package {room!r}, which is scalrec's: give "
                "scalrec an environment without it (docs/adr/0035)"
            )


def in_checkout(root: Path = ROOT) -> bool:
    """Whether scalrec runs from a checkout, whose environment holds every extra but the optional.

    Otherwise it was installed with the extras that its user chose.
    """
    return (root / "scripts" / "bootstrap.py").is_file()


def required(distribution: str = "scalrec", *, whole: bool | None = None) -> dict[str, str]:
    """Modules that must be importable, with the packages they come from.

    Those of what the distribution needs, and of its extras what is installed.

    Args:
        whole: all of the extras that a checkout has, installed or not; None: in a checkout.
    """
    whole = in_checkout() if whole is None else whole
    modules: dict[str, list[str]] = {}
    for module, owners in metadata.packages_distributions().items():
        for owner in owners:
            modules.setdefault(normal(owner), []).append(module)
    wanted = requirements(distribution)
    names = [
        name
        for extra in ("", *EXTRAS)
        for name in wanted.get(extra, ())
        if not extra or name in modules or (whole and extra in CHECKOUT_EXTRAS)
    ]
    return {
        module: name
        for name in names
        for module in sorted(modules.get(name, [name.replace("-", "_")]))
        if module.isidentifier() and not module.startswith("_")
    }


def mend(package: str) -> str:
    """What to do about a package that is missing or broken."""
    if in_checkout():
        return "run `make env` (without make: python3 scripts/bootstrap.py product)"
    return f"run `pip install --force-reinstall {package}` in this environment"


def broken_packages(modules: dict[str, str]) -> Iterator[str]:
    """Those that cannot be imported, and why."""
    left = list(modules)
    while left:
        done, failed, reason = _tried(left)
        for module, words in failed.items():
            yield _told(module, modules[module], words)
        if reason:  # it ended the process, while the first that is not done was imported
            yield _told(left[len(done)], modules[left[len(done)]], reason)
            done = left[: len(done) + 1]
        left = left[len(done) :]


def _tried(modules: Sequence[str]) -> tuple[list[str], dict[str, str], str]:
    """Modules that came to an end, those that failed with words; why it stopped before all had."""
    try:
        run = subprocess.run(
            [sys.executable, "-c", _TRY, *modules],
            capture_output=True,
            text=True,
            timeout=IMPORTS_S,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        output, reason = late.stdout or b"", f"no end within {IMPORTS_S:g} s"
        text = output.decode(errors="replace") if isinstance(output, bytes) else output
    else:
        text = run.stdout
        reason = "" if run.returncode == 0 else f"the process ended with {run.returncode}"
    lines = [line.split(" ", 2) for line in text.splitlines()]
    done = [line[1] for line in lines if line[0] in ("works", "fails") and line[1] in modules]
    failed = {line[1]: line[2] for line in lines if line[0] == "fails" and line[1] in modules}
    return done, failed, reason if len(done) < len(modules) else ""


def _told(module: str, package: str, words: str) -> str:
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        return f"{package} is not installed: {mend(package)}"
    return f"{module} ({package} {version}) cannot be imported: {words}\n  -> {mend(package)}"


def _has(flag: str) -> bool:
    """Whether the processor says it has some instructions; True where it says nothing."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return flags is None or flag in flags[1].split()
