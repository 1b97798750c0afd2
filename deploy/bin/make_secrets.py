"""Make the secrets of a deployment, each in the volume of those who may read it.

What is there is kept, so that a restart changes no password; ``--rotate`` makes new ones (then
restart what uses them). Nothing has a default: without this, nothing starts.
"""

from __future__ import annotations

import argparse
import os
import secrets
from pathlib import Path

ROOT = Path("/secrets")
REDIS_USER = "scalrec"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rotate", action="store_true", help="replace the secrets by new ones")
    rotate = parser.parse_args().rotate
    password = _made(ROOT / "redis" / "password", rotate=rotate)
    api_key = _made(ROOT / "vllm" / "VLLM_API_KEY", rotate=rotate)
    # The same again, as the settings that name them, for the clients.
    address = f"redis://{REDIS_USER}:{password}@{os.environ['REDIS_ADDRESS']}/0"
    _write(ROOT / "cloud" / "SCALREC_CLOUD__REDIS_URL", address)
    for reader in ("cloud", "embedder"):
        _write(ROOT / reader / "SCALREC_EMBEDDER__API_KEY", api_key)
    print("secrets are in place")


def _made(path: Path, *, rotate: bool) -> str:
    """The secret in a file, made if it is not there (or is to be replaced)."""
    if not rotate and path.is_file() and (found := path.read_text(encoding="ascii").strip()):
        return found
    made = secrets.token_urlsafe(32)
    _write(path, made)
    return made


def _write(path: Path, text: str) -> None:
    """Whole or not at all; for the owner and its group, whom a reader of another image joins."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o440)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(text)
    partial.replace(path)


if __name__ == "__main__":
    main()
