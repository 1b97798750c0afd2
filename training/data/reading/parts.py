"""A log in several files: a folder of parts, or a pattern that names them."""

from __future__ import annotations

import glob
import re
from pathlib import Path

from shared.errors import DataError

_ASIDE = (".crc", ".md5", ".sha256")  # lie beside what they are about


def is_pattern(path: Path | str) -> bool:
    """Whether it names files by wildcards, and is no file itself."""
    return glob.has_magic(str(path)) and not Path(path).exists()


def name_of(path: Path) -> str:
    """A log's short name: that of its file or folder, fit for folders of its own."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.name.split(".")[0]).strip("-.")
    return name or re.sub(r"[^A-Za-z0-9._-]+", "-", path.parent.name).strip("-.") or "log"


def parts_of(path: Path) -> list[Path]:
    """The files that ``path`` names, by name: itself, those of a folder or those of a pattern.

    Hidden files and those that begin with _ are left out, as what writes folders of parts means it.

    Raises:
        DataError: there is none, or they are of several kinds.
    """
    if path.is_file():
        return [path]
    if is_pattern(path):
        found = list(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor))))
    elif path.is_dir():
        found = list(path.rglob("*"))
    else:
        raise DataError("no such file or folder; log.path (--log) names the log", path)
    base = path if path.is_dir() else Path()
    parts = sorted(
        file
        for file in found
        if file.is_file()
        and file.suffix not in _ASIDE
        and not any(part.startswith((".", "_")) for part in _below(file, base))
    )
    if not parts:
        raise DataError(
            "no file of a log is there; name one, a folder of parts or a pattern (--log)", path
        )
    kinds = {"".join(file.suffixes[-2:]) for file in parts}
    if len(kinds) > 1:
        shown = ", ".join(file.name for file in parts[:6])
        raise DataError(
            f"holds files of several kinds ({shown}{', ...' if len(parts) > 6 else ''}); name one, "
            "or those that are the log's parts by a pattern such as 'FOLDER/part-*.csv'",
            path,
        )
    return parts


def _below(file: Path, base: Path) -> tuple[str, ...]:
    """Names from ``base`` down; of a pattern's file its own name alone."""
    return file.relative_to(base).parts if base != Path() else (file.name,)
