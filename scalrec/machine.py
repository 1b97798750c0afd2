"""What `scalrec doctor` looks at before anything is imported that may be what is broken.

The standard library alone: whether this machine and its packages can carry the rest. Each package
is imported in a process of its own, since one that was built for another processor ends it.
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

WANTED_PYTHON = (3, 11)
IMPORTS_S = 300.0  # for all of them together, on a machine that is busy
MEND = "run `make env` (without make: python3.11 scripts/bootstrap.py product)"
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
    found = sys.version_info[:2]
    if found != WANTED_PYTHON:
        wanted = ".".join(map(str, WANTED_PYTHON))
        yield f"this is Python {found[0]}.{found[1]}, scalrec needs {wanted}: {MEND} with it"
    if sys.platform == "linux" and platform.machine() == "x86_64" and not _has("avx2"):
        yield (
            "this processor (or virtual machine) has no AVX2 instructions, which polars and torch "
            "are built for: use another machine, or let the virtual one pass them on"
        )
    yield from broken_packages(required())


def cannot_start(error: ImportError) -> str:
    """What to say where a command cannot be imported."""
    return (
        f"scalrec cannot start: {error}\n"
        "`scalrec doctor` says which packages cannot be imported here, and how to mend them"
    )


def required(distribution: str = "scalrec") -> dict[str, str]:
    """Modules of what a distribution needs, with the packages they come from."""
    try:
        texts = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return {}
    names = [re.split(r"[^\w.-]", text)[0] for text in texts if "extra ==" not in text]
    modules: dict[str, list[str]] = {}
    for module, owners in metadata.packages_distributions().items():
        for owner in owners:
            modules.setdefault(_normal(owner), []).append(module)
    return {
        module: name
        for name in names
        for module in sorted(modules.get(_normal(name), [name.replace("-", "_")]))
        if module.isidentifier() and not module.startswith("_")
    }


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
        return f"{package} is not installed: {MEND}"
    return f"{module} ({package} {version}) cannot be imported: {words}\n  -> {MEND}"


def _has(flag: str) -> bool:
    """Whether the processor says it has some instructions; True where it says nothing."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return flags is None or flag in flags[1].split()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
