"""Whose turn it is to send traffic: the fleets of all containers together, or one load test.

A load test's figures are to be its own, so the fleets rest while one runs; two load tests run one
after the other, since they share the fault proxy. Turns are file locks on a volume that all of
them mount: whoever dies gives its turn back.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

BUNDLES = Path("/bundles")
WANTED, BUSY = "loadtest.lock", "fleet.lock"


@contextmanager
def load_test(folder: Path) -> Iterator[None]:
    """Wait for other load tests to end and the fleets to rest, then keep both away."""
    with _opened(folder / WANTED) as wanted, _opened(folder / BUSY) as busy:
        fcntl.flock(wanted, fcntl.LOCK_EX)
        fcntl.flock(busy, fcntl.LOCK_EX)
        yield


@contextmanager
def fleet(folder: Path) -> Iterator[None]:
    """Wait until no load test runs, then hold the turn beside other fleets."""
    with _opened(folder / WANTED) as wanted, _opened(folder / BUSY) as busy:
        fcntl.flock(wanted, fcntl.LOCK_SH)
        fcntl.flock(busy, fcntl.LOCK_SH)
        fcntl.flock(wanted, fcntl.LOCK_UN)
        yield


def load_test_wanted(folder: Path) -> bool:
    """Whether a load test waits for the fleets to rest."""
    with _opened(folder / WANTED) as wanted:
        try:
            fcntl.flock(wanted, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def see_bundles(work_dir: Path) -> None:
    """Let the bundles' volume be found below a work dir, where the commands look for them."""
    link = work_dir / "bundles"
    if not link.is_symlink():
        link.symlink_to(BUNDLES)


def _opened(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")
