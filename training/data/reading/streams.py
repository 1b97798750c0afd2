"""Bytes and lines of a text file: plain, gzip or zstandard, in UTF-8, UTF-16 or as told."""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from shared.errors import DataError

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_BOM = b"\xef\xbb\xbf"
# Packings and files that are no text, by how they begin.
_OTHERS = {
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"BZh": "a bzip2 file",
    b"\xfd7zX": "an xz file",
    b"7z\xbc\xaf": "a 7z archive",
    b"SQLi": "an SQLite database",
    b"%PDF": "a PDF",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
}
_HEAD_BYTES = 1 << 16


def read_content(path: Path) -> bytes:
    """The text's bytes, unpacked; raises DataError when the file cannot be read."""
    with _reading(path), _opened(path) as stream:
        return stream.read()


def first_line(path: Path, encoding: str = "latin-1") -> str:
    """The first line, at most 64 KiB of it, without mark and end; "" for an empty file."""
    with _reading(path), _opened(path) as stream:
        raw = stream.readline(_HEAD_BYTES).removeprefix(_BOM)
        return raw.decode(encoding, "replace").rstrip("\r\n")


def numbered_lines(
    path: Path,
    encoding: str = "utf-8",
    bad: dict[int, str] | None = None,
    refusal: Callable[[str], str] = str,
) -> Iterator[tuple[int, str]]:
    """(1-based number, text) of every line.

    Args:
        bad: lines that are not text are left out and told here; None: they are refused.
        refusal: makes the error's words of what is wrong.

    Raises:
        DataError: a line is not text, named; or the file cannot be read.
    """
    with _reading(path), _opened(path) as stream:
        for line, raw in enumerate(stream, 1):
            try:
                text = raw.decode(encoding)
            except UnicodeDecodeError as error:
                message = f"not {encoding} text: {error.reason}; write the file as UTF-8"
                if bad is None:
                    raise DataError(refusal(message), path, line) from error
                bad[line] = message
                continue
            yield line, text.removeprefix("\ufeff") if line == 1 else text


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what the file system or a decompressor says of ``path`` into DataError."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"damaged or truncated gzip file: {error}; copy it again", path) from error
    except UnicodeDecodeError as error:
        raise DataError(f"not utf-16 text: {error.reason}; write it as UTF-8", path) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path) from error


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as head:
        magic = head.read(4)
    for begin, kind in _OTHERS.items():
        if magic.startswith(begin):
            raise DataError(
                f"is {kind}; bring text, JSON lines or parquet, plain or packed as gzip or zstd",
                path,
            )
    if len(magic) == 4 and (magic[1::2] == b"\0\0" or magic[::2] == b"\0\0"):
        raise DataError("looks like UTF-16 without a mark; write it as UTF-8", path)
    if magic.startswith(_UTF16):
        return io.BytesIO(path.read_bytes().decode("utf-16").encode())
    if magic.startswith(_GZIP):
        return cast(IO[bytes], gzip.open(path, "rb"))
    if magic == _ZSTD:
        packed = pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")
        return cast(IO[bytes], io.BufferedReader(packed))
    return path.open("rb")
