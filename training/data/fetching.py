"""Getting files whole: resumable downloads, recorded hashes, guarded archives, atomic moves."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import httpx2 as httpx

from shared.errors import DataError
from shared.files import staged, write_whole
from shared.progress import Progress, Task
from shared.proxies import proxy_for

CHUNK_BYTES = 1 << 16
TIMEOUT = httpx.Timeout(30.0, connect=10.0)


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_file(path: Path) -> Path:
    """Where the hash of ``path`` is recorded: beside it, in the format of sha256sum."""
    return path.with_name(path.name + ".sha256")


def record_hash(path: Path) -> str:
    """Write the file's sha256 beside it and return it."""
    digest = sha256_of(path)
    write_whole(hash_file(path), f"{digest}  {path.name}\n")
    return digest


def recorded_hash(path: Path) -> str | None:
    """The hash recorded beside ``path``, or None."""
    try:
        return hash_file(path).read_text().split()[0]
    except (FileNotFoundError, IndexError):
        return None


def check_hash(path: Path, expected: str, why: str) -> None:
    """Raise DataError unless the file has that sha256; ``why`` says where it was expected."""
    actual = sha256_of(path)
    if actual != expected.lower():
        raise DataError(f"sha256 is {actual}, not {expected.lower()} ({why})", path)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait until no other process fetches into ``folder``; raises DataError if it is read-only."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / ".lock").open("w")
    except OSError as error:
        raise DataError(
            f"cannot write there ({error.strerror}); set SCALREC_CACHE", folder
        ) from error
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def download(
    url: str,
    destination: Path,
    *,
    progress: Progress,
    max_bytes: int,
    attempts: int = 3,
    pause_s: float = 1.0,
) -> Path:
    """Stream ``url`` into ``destination``, resuming what an earlier call had to leave.

    A partial file is continued only if the server confirms (If-Range) that it is still the same
    file; otherwise the download starts again. Call it under ``locked``.

    Raises:
        DataError: no connection, an HTTP error, or more than ``max_bytes``.
        ConfigError: a variable such as HTTPS_PROXY names a proxy that cannot be used.
    """
    part = destination.with_name(destination.name + ".part")
    with (
        progress.task(f"download {destination.name}") as task,
        httpx.Client(
            follow_redirects=True,
            timeout=TIMEOUT,
            proxy=proxy_for(url, os.environ),
            trust_env=False,
        ) as client,
    ):
        for attempt in range(1, attempts + 1):
            try:
                _continue(client, url, part, task, max_bytes)
                break
            except (httpx.TransportError, _Restart) as error:
                if attempt == attempts:
                    have = part.stat().st_size if part.exists() else 0
                    raise DataError(
                        f"download of {url} failed after {have:,} bytes: {error or 'no answer'}. "
                        "Check the connection and run the same command again: it resumes"
                    ) from error
                time.sleep(pause_s)
            except (httpx.InvalidURL, httpx.HTTPError) as error:
                raise DataError(f"download of {url} failed: {error}") from error
            except OSError as error:
                raise DataError(f"cannot be written: {error.strerror}", part) from error
    part.replace(destination)
    _validator_file(part).unlink(missing_ok=True)
    return destination


def obtain(source: str, destination: Path, *, progress: Progress, max_bytes: int) -> Path:
    """``source`` at ``destination``: downloaded if it is an http(s) address, else copied."""
    if source.startswith(("http://", "https://")):
        return download(source, destination, progress=progress, max_bytes=max_bytes)
    try:
        with staged(destination) as partial:
            shutil.copyfile(source, partial)
    except OSError as error:
        raise DataError(f"cannot be copied: {error.strerror}", source) from error
    return destination


class _Restart(Exception):
    """Signal to try again: the partial file cannot be continued, or the server is unwell."""


def _continue(client: httpx.Client, url: str, part: Path, task: Task, max_bytes: int) -> None:
    """One request for what is missing of ``part``."""
    headers = {"Accept-Encoding": "identity"}  # a Range counts bytes of what is on the disk
    have = part.stat().st_size if part.exists() else 0
    validator = _validator(part)
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == httpx.codes.RANGE_NOT_SATISFIABLE:
            part.unlink()
            raise _Restart("the server refused to continue the partial file")
        if response.status_code >= 500:
            raise _Restart(f"the server answered {response.status_code}")
        if response.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            raise DataError(f"download of {url} failed: the server answered {response.status_code}")
        resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
        if resumed and not response.headers.get("content-range", "").startswith(f"bytes {have}-"):
            part.unlink()
            raise _Restart("the server sent another range than was asked for")
        part.parent.mkdir(parents=True, exist_ok=True)
        _remember_validator(part, response)
        size = have if resumed else 0
        task.advance(size, note="resumed" if resumed else "")
        with part.open("ab" if resumed else "wb") as stream:
            for chunk in response.iter_raw(CHUNK_BYTES):
                size += len(chunk)
                if size > max_bytes:
                    raise DataError(f"{url} is larger than {max_bytes:,} bytes; not what was asked")
                stream.write(chunk)
                task.advance(len(chunk))


def _validator_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _validator(part: Path) -> str | None:
    try:
        found = json.loads(_validator_file(part).read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, str) and found.isprintable() else None


def _remember_validator(part: Path, response: httpx.Response) -> None:
    """Keep a strong ETag, else Last-Modified: what If-Range may compare (RFC 9110, 13.1.5)."""
    etag = response.headers.get("etag", "")
    validator = etag if etag.startswith('"') else response.headers.get("last-modified")
    write_whole(_validator_file(part), json.dumps(validator))


def extract_member(archive: Path, name: str, destination: Path, *, max_bytes: int) -> Path:
    """Unpack the one member of a zip archive whose file name is ``name``, to ``destination``.

    Raises:
        DataError: not a zip archive, a damaged one, one whose member paths leave the archive, no
            such member or several, or one of more than ``max_bytes`` unpacked.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = [m for m in zipped.infolist() if PurePosixPath(m.filename).name == name]
            if any(_escapes(m.filename) for m in zipped.infolist()):
                raise DataError("a member's path leads outside the archive; refused", archive)
            if len(members) != 1:
                raise DataError(f"holds {len(members)} files named {name}, not 1", archive)
            with (
                zipped.open(members[0]) as packed,
                staged(destination) as partial,
                partial.open("wb") as stream,
            ):
                size = 0
                # The size in the archive's directory is the archive's own claim: count.
                while chunk := packed.read(CHUNK_BYTES):
                    size += len(chunk)
                    if size > max_bytes:
                        raise DataError(f"{name} unpacks to more than {max_bytes:,} bytes", archive)
                    stream.write(chunk)
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"not a readable zip archive: {error}", archive) from error
    except OSError as error:
        raise DataError(f"cannot be unpacked: {error.strerror or error}", archive) from error
    return destination


def _escapes(member: str) -> bool:
    path = PurePosixPath(member.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in path.parts[0] if path.parts else True
