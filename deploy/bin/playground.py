"""Everything in one container: a cloud, a fleet that replays an invented log, and the live view.

`playground.py make` (in the image's build) writes the log and trains the bundle; without it, the
image's default, both are used: nothing is fetched, nothing is kept, keys are made at each start.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import playground_log

from shared.tokens import new_key

MADE = Path("/work/playground")  # in the build
HOME = Path("/playground")  # in the image
RUNS = Path("/tmp/playground")  # noqa: S108  the container is its only user
CLOUD, LIVE_VIEW = "http://127.0.0.1:8080", "http://127.0.0.1:8090"
PROGRAM = (sys.executable, "-m", "scalrec")
STARTING_S, POLL_S, STOP_S = 600.0, 0.5, 20.0

TRAINING = {
    "SCALREC_TRAINING__EPOCHS": "20",
    "SCALREC_TRAINING__ABSTRACTS_PER_USER": "8",
    "SCALREC_TRAINING__THREADS": "2",
}
FLEET = {
    "SCALREC_REPLAY__USERS": "100",
    "SCALREC_REPLAY__DURATION_S": "300",
}


def main() -> None:
    if sys.argv[1:] == ["make"]:
        make()
    else:
        sys.exit(run())


def settings(home: Path) -> dict[str, str]:
    """What whoever trains, serves and replays has to agree on."""
    return {
        "SCALREC_LOG__NAME": "reading-room",
        "SCALREC_LOG__PATH": str(home / "log" / "loans.csv"),
        "SCALREC_LOG__ITEMS": str(home / "log" / "books.csv"),
        "SCALREC_LOG__COLUMNS": "user=reader,item=book,time=when",
        "SCALREC_EMBEDDER__BACKEND": "hashing",
        "SCALREC_EMBEDDER__MODEL": "hashing-64",
        "OMP_NUM_THREADS": "1",
    }


def make() -> None:
    """Write the log and train the bundle on it."""
    playground_log.write_log(MADE / "log")
    work = {"SCALREC_WORK_DIR": str(MADE), "SCALREC_CACHE": str(RUNS / "cache")}
    subprocess.run(
        [*PROGRAM, "export"], env=os.environ | settings(MADE) | TRAINING | work, check=True
    )


def run() -> int:
    """Until a signal, or until a part ends by itself; returns the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    [bundle] = (path.parent for path in (HOME / "bundles").glob("*/manifest.json"))
    RUNS.mkdir(parents=True, exist_ok=True)
    told = {
        "SCALREC_WORK_DIR": str(RUNS),
        "SCALREC_CACHE": str(RUNS / "cache"),
        "SCALREC_CLOUD__AUTH_KEYS": new_key(),
        "SCALREC_DASHBOARD__TOKEN": secrets.token_urlsafe(32),
    }
    # What the container was given beside, by `docker run --env`, has the last word.
    given = settings(HOME) | FLEET | told | dict(os.environ)
    page = {"SCALREC_DASHBOARD__HOST": "0.0.0.0", "SCALREC_DASHBOARD__PORT": "8090"}  # noqa: S104
    reports = {"SCALREC_DASHBOARD__PUSH_URL": LIVE_VIEW}
    parts: dict[str, subprocess.Popen[bytes]] = {}
    try:
        parts["cloud"] = _start(given, "serve", "--bundle", str(bundle), "--port", "8080")
        parts["live view"] = _start(given | page, "dashboard")
        print("the live view is at port 8090 of this container", flush=True)
        if not _ready(parts):
            return 1
        seed = 0
        while True:
            seed += 1
            one = given | reports | {"SCALREC_SEED": str(seed)}
            parts["fleet"] = _start(one, "fleet", "--cloud", CLOUD, "--bundle", str(bundle))
            while parts["fleet"].poll() is None and not _ended(parts, "cloud", "live view"):
                time.sleep(POLL_S)
            if _ended(parts, "cloud", "live view") or parts["fleet"].returncode:
                _say(parts)
                return 1
    finally:
        _stop(parts)


def _start(environment: Mapping[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*PROGRAM, *arguments], env=dict(environment))


def _ready(parts: Mapping[str, subprocess.Popen[bytes]]) -> bool:
    """Whether the cloud got ready; it has to load its networks first."""
    check = [sys.executable, str(Path(__file__).with_name("healthcheck.py")), f"{CLOUD}/readyz"]
    deadline = time.monotonic() + STARTING_S
    while subprocess.run(check, capture_output=True, check=False).returncode != 0:
        if _ended(parts, *parts) or time.monotonic() > deadline:
            _say(parts)
            return False
        time.sleep(POLL_S)
    return True


def _ended(parts: Mapping[str, subprocess.Popen[bytes]], *names: str) -> bool:
    return any(parts[name].poll() is not None for name in names)


def _say(parts: Mapping[str, subprocess.Popen[bytes]]) -> None:
    for name, part in parts.items():
        code = part.poll()
        state = "runs" if code is None else f"ended with {code}"
        print(f"playground: the {name} {state}", file=sys.stderr, flush=True)


def _stop(parts: Mapping[str, subprocess.Popen[bytes]]) -> None:
    """End all, those first that depend on the others."""
    for part in reversed(parts.values()):
        if part.poll() is None:
            part.terminate()
    for part in parts.values():
        try:
            part.wait(STOP_S)
        except subprocess.TimeoutExpired:
            part.kill()
            part.wait()


if __name__ == "__main__":
    main()
