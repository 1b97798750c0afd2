"""`once.py model|bundle`: run prepare.py, unless it ended well and nothing has changed since.

`docker compose up` starts a service that has ended once more. Then this looks at names, sizes and
times of files and at the settings, which takes a moment; it imports nothing that takes longer.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

SCRIPT = Path(__file__).with_name("prepare.py")
CACHE = Path(os.environ.get("SCALREC_CACHE", "/cache"))
# What each leaves and what it reads. The mark lies in the cache, which both fill: a cache that was
# removed is filled again.
FOLDERS = {
    "model": (CACHE / "models" / "served",),
    "bundle": (Path(os.environ.get("SCALREC_WORK_DIR", "/work")) / "bundles", Path("/given")),
}
FILES = ("SCALREC_LOG__PATH", "SCALREC_LOG__ITEMS")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=sorted(FOLDERS))
    what = parser.parse_args().what
    mark = CACHE / f"prepared-{what}"
    if mark.is_file() and mark.read_text(encoding="ascii") == state(what, os.environ):
        print(f"{what}: nothing has changed since it was prepared")
        return
    code = _run(what)
    if code == 0:
        mark.write_text(state(what, os.environ), encoding="ascii")
    sys.exit(code)


def state(what: str, environment: Mapping[str, str]) -> str:
    """A hash of everything that decides whether there is something to do.

    Settings are among it by their names and values, the program by its files' times.
    """
    seen = hashlib.sha256()
    given = sorted((k, v) for k, v in environment.items() if k.startswith("SCALREC_"))
    named = [Path(environment[name]) for name in FILES if environment.get(name)]
    program = importlib.util.find_spec("scalrec")  # found, not loaded
    named += [SCRIPT] if program is None else [SCRIPT, Path(program.origin or "")]
    for part in (given, *map(_entry, named), *_tree(what)):
        seen.update(f"{part!r}\n".encode())
    return seen.hexdigest()


def _tree(what: str) -> Iterator[tuple[object, ...]]:
    for folder in FOLDERS[what]:
        for parent, folders, files in os.walk(folder, followlinks=True):
            folders.sort()
            for name in sorted(files):
                yield _entry(Path(parent) / name)


def _entry(path: Path) -> tuple[object, ...]:
    try:
        found = path.stat()
    except OSError as error:
        return str(path), error.errno
    return str(path), found.st_size, found.st_mtime_ns


def _run(what: str) -> int:
    child = subprocess.Popen([sys.executable, str(SCRIPT), what])
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda number, _: child.send_signal(number))
    return child.wait()


if __name__ == "__main__":
    main()
