"""EmbeddingCache: text embeddings on disk, found again by model and text.

One sqlite file serves every log, run and checkout of a user. Rows are committed batch by batch, so
an interrupted run resumes where it stopped, and several processes may share the file.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.bundle import EmbedderIdentity
from shared.errors import ConfigError

_SCHEMA_VERSION = 1
_BUSY_TIMEOUT_S = 30.0
_KEYS_PER_QUERY = 500  # sqlite's limit on bound parameters was 999 for long
_CRC_BYTES = 4
_DAMAGED = ("malformed", "not a database", "corrupt")


def cache_key(identity: EmbedderIdentity, text: str, variant: str = "") -> bytes:
    """Key of one text: a hash over model, its files, pooling, variant and text, 32 bytes.

    The back end is left out on purpose: vLLM and transformers give the same vectors for a model.
    ``variant`` separates settings that change a vector without changing the model, such as the
    number of tokens a text is cut at.
    """
    parts = (identity.model, identity.pooling, identity.content or "", variant, text)
    digest = hashlib.blake2b(digest_size=32)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.digest()


class EmbeddingCache:
    """Key -> float32 vector, in one sqlite file.

    A file that is no sqlite database, or a damaged one, is moved aside (``set_aside`` names it)
    and rebuilt: its content can always be computed again. A row whose checksum fails counts as
    missing.

    Args:
        path: the file; its folder is made. Close the cache or use it as a context manager.

    Raises:
        ConfigError: the file can be neither opened nor made.
    """

    def __init__(self, path: Path):
        self.path = path
        self.set_aside: Path | None = None
        self.recognised: dict[str, str] = {}  # see training.semantic.recognition
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error
        self._db = self._open_or_rebuild()

    def __enter__(self) -> EmbeddingCache:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def get_many(self, keys: Sequence[bytes], dim: int) -> dict[bytes, NDArray[np.float32]]:
        """Those of ``keys`` that are held as intact vectors of length ``dim``."""
        try:
            return dict(self._read(keys, dim))
        except sqlite3.DatabaseError as error:
            self._recover(error)
            return {}

    def put_many(self, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        """Store ``vectors`` [n, m] under ``keys`` and commit.

        Raises:
            ConfigError: the disk is full or the file cannot be written; earlier batches stay.
        """
        rows = [(key, _pack(vector)) for key, vector in zip(keys, vectors, strict=True)]
        try:
            self._write(rows)
        except sqlite3.DatabaseError as error:
            self._recover(error)
            self._write(rows)

    def __len__(self) -> int:
        (count,) = self._db.execute("SELECT count(*) FROM embedding").fetchone()
        return int(count)

    def models(self, name: str) -> list[tuple[str, bytes]]:
        """(id, what ``add_model`` was given) of every model seen under ``name``, oldest first."""
        try:
            return list(
                self._db.execute(
                    "SELECT id, vectors FROM model WHERE name = ? ORDER BY rowid", (name,)
                )
            )
        except sqlite3.DatabaseError as error:
            self._recover(error)
            return []

    def add_model(self, name: str, model_id: str, vectors: bytes) -> None:
        """Remember a model. Raises ConfigError as ``put_many`` does."""
        try:
            with self._db:
                self._db.execute(
                    "INSERT OR REPLACE INTO model (id, name, vectors) VALUES (?, ?, ?)",
                    (model_id, name, vectors),
                )
        except sqlite3.DatabaseError as error:
            self._recover(error)

    def _read(self, keys: Sequence[bytes], dim: int) -> Iterator[tuple[bytes, NDArray[np.float32]]]:
        for start in range(0, len(keys), _KEYS_PER_QUERY):
            some = keys[start : start + _KEYS_PER_QUERY]
            marks = ",".join("?" * len(some))
            query = f"SELECT key, vector FROM embedding WHERE key IN ({marks})"  # noqa: S608
            for key, blob in self._db.execute(query, some):
                vector = _unpack(blob, dim)
                if vector is not None:
                    yield key, vector

    def _write(self, rows: list[tuple[bytes, bytes]]) -> None:
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO embedding VALUES (?, ?)", rows)

    def _open_or_rebuild(self) -> sqlite3.Connection:
        try:
            return self._open()
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise self._unusable(error) from error
        self._move_aside()
        try:
            return self._open()
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S)
        try:
            # Readers and one writer at a time, no reader waits; a lost last batch after a power
            # cut is acceptable, a damaged file is not.
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            with db:
                db.execute(
                    "CREATE TABLE IF NOT EXISTS embedding "
                    "(key BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID"
                )
                db.execute(
                    "CREATE TABLE IF NOT EXISTS model "
                    "(id TEXT PRIMARY KEY, name TEXT NOT NULL, vectors BLOB NOT NULL)"
                )
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                db.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
            elif version != _SCHEMA_VERSION:
                raise ConfigError(
                    f"embedding cache {self.path} is of format {version}, this program writes "
                    f"{_SCHEMA_VERSION}; delete it or choose another cache folder (SCALREC_CACHE)"
                )
        except BaseException:
            db.close()
            raise
        return db

    def _recover(self, error: sqlite3.DatabaseError) -> None:
        if not _is_damage(error):
            raise self._unusable(error) from error
        self._db.close()
        self._move_aside()
        self._db = self._open_or_rebuild()

    def _move_aside(self) -> None:
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.damaged-{number}")).exists():
            number += 1
        try:
            self.path.replace(aside)
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        except OSError as error:
            raise self._unusable(error) from error
        self.set_aside = aside

    def _unusable(self, error: Exception) -> ConfigError:
        return ConfigError(
            f"embedding cache {self.path} cannot be used: {error}. Make room or make its folder "
            "writable, or choose another with SCALREC_CACHE"
        )


def _pack(vector: NDArray[np.float32]) -> bytes:
    data = np.ascontiguousarray(vector, dtype="<f4").tobytes()
    return zlib.crc32(data).to_bytes(_CRC_BYTES, "big") + data


def _unpack(blob: bytes, dim: int) -> NDArray[np.float32] | None:
    data = blob[_CRC_BYTES:]
    if len(data) != 4 * dim or zlib.crc32(data) != int.from_bytes(blob[:_CRC_BYTES], "big"):
        return None
    return np.frombuffer(data, dtype="<f4").astype(np.float32)


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    return any(word in str(error) for word in _DAMAGED)
