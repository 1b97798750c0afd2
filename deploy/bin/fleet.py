"""One container of devices, for as long as it runs: replay after replay, each with other users.

Containers that start within GATHER_S of each other replay together, as one run that the live view
shows whole. All of them rest while a load test runs. Each keeps the records of its last replays.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zlib
from pathlib import Path

import turns

SHARED = Path(os.environ.get("SCALREC_RUNS", "/runs"))
COMMAND = (sys.executable, "-m", "scalrec", "fleet", "--cloud", "http://proxy-api:8080")
GATHER_S = 10.0
POLL_S = 1.0
PAUSE_S = 10.0
STOP_S = 20.0
KEPT_RUNS = 3


def main() -> None:
    name = socket.gethostname()
    home = SHARED / "fleet" / name
    home.mkdir(parents=True, exist_ok=True)
    turns.see_bundles(home)
    seed = zlib.crc32(name.encode()) % 1_000_000
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        with turns.fleet(SHARED):
            started = join_round(SHARED / "fleet.round", time.time())
            time.sleep(max(0.0, started - time.time()))
            seed += 1
            code = replay(home, seed, f"fleet-{int(started)}")
        if code not in (0, None):
            print(f"the replay ended with {code}; the next one starts in {PAUSE_S:g} s", flush=True)
            time.sleep(PAUSE_S)
        forget(home)


def join_round(path: Path, now: float) -> float:
    """Unix time at which the next replay of all containers starts: an agreed one, or a new one."""
    with path.open("a+", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        agreed = float(file.read() or 0)
        if not now <= agreed <= now + GATHER_S:
            agreed = now + GATHER_S
            file.truncate(0)
            file.write(f"{agreed:.0f}")
        return agreed


def replay(home: Path, seed: int, run: str) -> int | None:
    """Run one replay; its exit code, or None if a load test took its turn."""
    environment = os.environ | {
        "SCALREC_WORK_DIR": str(home),
        "SCALREC_SEED": str(seed),
        "SCALREC_DASHBOARD__RUN": run,
    }
    child = subprocess.Popen(COMMAND, env=environment)
    try:
        while (code := child.poll()) is None:
            (home / "alive").touch()
            if turns.load_test_wanted(SHARED):
                print("a load test runs: the devices rest", flush=True)
                return None
            time.sleep(POLL_S)
        return code
    finally:
        stop(child)


def stop(child: subprocess.Popen[bytes]) -> None:
    """End a replay that may still run."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def forget(home: Path) -> None:
    """Remove all run folders but the newest; their names begin with their time."""
    runs = sorted(p for p in home.iterdir() if p.is_dir() and not p.is_symlink())
    for old in runs[:-KEPT_RUNS]:
        shutil.rmtree(old, ignore_errors=True)


if __name__ == "__main__":
    main()
