"""Checksums of a run's records, beside them: figures are made of what the run wrote, or not at all.

They tell of damage and of careless edits; who changes records on purpose can change them as well.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from shared.errors import DataError
from shared.files import write_whole

SUMS = "checksums.json"


def seal(run_dir: Path, *names: str) -> None:
    """Keep the checksums of those of the named files that are there.

    Raises:
        DataError: checksums.json is there and is none.
        OSError: a file cannot be read, or checksums.json not written.
    """
    sums = _read(run_dir)
    for name in names:
        if (run_dir / name).exists():
            sums[name] = _sum(run_dir / name)
    write_whole(run_dir / SUMS, json.dumps(dict(sorted(sums.items())), indent=1) + "\n")


def check(path: Path) -> None:
    """Hold a file to its checksum, if it has one; those of older runs have none.

    Raises:
        DataError: naming the file that is missing or was changed, or checksums.json.
    """
    known = _read(path.parent).get(path.name)
    if known is None:
        return
    try:
        found = _sum(path)
    except FileNotFoundError as error:
        raise DataError(f"is missing, and {SUMS} beside it names it", path) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error}", path) from error
    if found != known:
        raise DataError(
            f"was changed or damaged since the run wrote it: it does not match {SUMS} beside it; "
            "figures are not made from it. Take the file from a copy, or make the run again",
            path,
        )


def unsealed(run_dir: Path) -> list[str]:
    """Record files of a run that have no checksum."""
    sums = _read(run_dir)
    return sorted(path.name for path in run_dir.glob("*.parquet") if path.name not in sums)


def _read(run_dir: Path) -> dict[str, str]:
    path = run_dir / SUMS
    try:
        sums = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot be read: {error}", path) from error
    if not isinstance(sums, dict):
        raise DataError("holds no checksums", path)
    return sums


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
