"""Make the secrets of a deployment, each in the volume of those who may read it.

What is there is kept, so that a restart changes no password; ``--rotate`` makes new ones (then
restart what uses them). Nothing has a default: without this, nothing starts.
"""

from __future__ import annotations

import argparse
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from shared.files import write_whole

ROOT = Path("/secrets")
REDIS_USER = "scalrec"


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the secrets of a deployment.")
    parser.add_argument("--rotate", action="store_true", help="replace the secrets by new ones")
    rotate = parser.parse_args().rotate
    password = _made(ROOT / "redis" / "password", token, rotate=rotate)
    api_key = _made(ROOT / "vllm" / "VLLM_API_KEY", token, rotate=rotate)
    # The same again, as the settings that name them, for the clients.
    address = f"redis://{REDIS_USER}:{quote(password, safe='')}@{os.environ['REDIS_ADDRESS']}/0"
    _write(ROOT / "cloud" / "SCALREC_CLOUD__REDIS_URL", address)
    for reader in ("cloud", "embedder"):
        _write(ROOT / reader / "SCALREC_EMBEDDER__API_KEY", api_key)
    # Devices' tokens: the fleet plays the service that issues them, so it holds the keys as well.
    keys = _device_keys(ROOT / "cloud" / "SCALREC_CLOUD__AUTH_KEYS", rotate=rotate)
    for reader in ("devices", "loadtest"):
        _write(ROOT / reader / "SCALREC_CLOUD__AUTH_KEYS", keys)
    # By which processes of a fleet report to the live view.
    news = _made(ROOT / "dashboard" / "SCALREC_DASHBOARD__TOKEN", token, rotate=rotate)
    for reader in ("devices", "loadtest"):
        _write(ROOT / reader / "SCALREC_DASHBOARD__TOKEN", news)
    # What the fault proxies ask of a load test that does faults by them.
    control = _made(ROOT / "proxy" / "token", token, rotate=rotate)
    _write(ROOT / "loadtest" / "proxy" / "token", control)
    print("secrets are in place")


def token() -> str:
    """256 bits, safe inside an address."""
    return secrets.token_urlsafe(32)


def _device_keys(path: Path, *, rotate: bool) -> str:
    """The key ring; rotated, the new key signs and the one before it still counts."""
    ring = _made(path, _new_key, rotate=False)
    if rotate:
        ring = f"{_new_key()},{ring.split(',')[0]}"
        _write(path, ring)
    return ring


def _new_key() -> str:
    # Only when one is made: at every other start there is nothing to do but to look.
    from shared.tokens import new_key

    return new_key()


def _made(path: Path, make: Callable[[], str], *, rotate: bool) -> str:
    """The secret in a file, made if it is not there (or is to be replaced)."""
    if not rotate and path.is_file() and (found := path.read_text(encoding="ascii").strip()):
        return found
    made = make()
    _write(path, made)
    return made


def _write(path: Path, text: str) -> None:
    """Whole or not at all; for the owner and its group, whom a reader of another image joins."""
    if not path.is_file() or path.read_text(encoding="ascii") != text:
        write_whole(path, text, mode=0o440)


if __name__ == "__main__":
    main()
