"""Files that appear whole: a reader finds the old content or the new, never a part of it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MODE = 0o666  # less the umask, as of any new file


def write_whole(path: Path, data: bytes | str, *, mode: int = MODE, fsync: bool = True) -> Path:
    """Replace the content of ``path`` in one step; returns it.

    Args:
        data: text is written in UTF-8.
        mode: permissions of the file, of which the umask takes its part.
        fsync: the content is on the disk before the name is, so that not even a power cut leaves
            an empty file. False where a lost file costs nothing and waiting for the disk does.

    Raises:
        OSError: naming ``path``, or the parent that could not be made; the old content stays.
    """
    with staged(path, fsync=fsync) as partial:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
    return path


@contextmanager
def staged(path: Path, *, fsync: bool = True) -> Iterator[Path]:
    """A name beside ``path`` to write to; what is there takes its place when the block ends well.

    Missing parents are made. The name is this writer's alone, so of several writers one wins. An
    OSError of the block itself, as of a full disk, is told of ``path``, too.

    Raises:
        OSError: as ``write_whole``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}-{os.urandom(4).hex()}.partial")
    try:
        with _named(path, instead_of=partial):
            yield partial
            if fsync:
                _sync(partial, os.O_RDONLY)
            partial.replace(path)
            if fsync:
                _sync(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def _named(path: Path, *, instead_of: Path) -> Iterator[None]:
    """Errors name the file that was wanted instead of the one that was being written."""
    try:
        yield
    except OSError as error:
        if error.filename not in (None, str(instead_of), str(path.parent)):
            raise
        # Libraries raise it without a number or words of the system's.
        words = error.strerror or str(error)
        raise OSError(error.errno or errno.EIO, words, str(path)) from error


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
