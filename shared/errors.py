"""Errors scalrec raises on purpose.

ScalrecError
  ConfigError          a setting is wrong or a needed part is missing
  DataError            an interaction log or item file is malformed (names file and line)
  BundleError          a model bundle does not match its manifest (names the file)
  SnapshotError
    SnapshotCorrupt    the blob is truncated, altered or of an unknown format
    SnapshotRejected   a valid blob not meant for this reader (user, version or bundle)
  EmbedderError
    EmbedderUnavailable  the embedding server does not answer, or not in time
    EmbedderMismatch     it answers with vectors of another shape, or not finite ones
  GeneratorUnavailable the generative recommender cannot be loaded or does not answer
  TokenRefused         a device token opens nothing (missing, altered, expired, foreign key)
  StoreUnavailable     the snapshot store (Redis) cannot be reached, or does not do what it is asked
  CloudUnavailable     the device could not get a snapshot (deadline, refusal, breaker open)
  LaunchError          a child process did not become ready

Each message says what happened and what to do about it.
"""

from __future__ import annotations

from pathlib import Path


class ScalrecError(Exception):
    """Base of every error raised on purpose; the command line prints it without a traceback."""


class ConfigError(ScalrecError):
    """A setting is wrong or a needed part is missing."""


class DataError(ScalrecError):
    """An interaction log or item file is malformed.

    Args:
        message: what is wrong and what would be right.
        path: the file at fault, if there is one.
        line: 1-based line (or row) number, if known.
    """

    def __init__(self, message: str, path: Path | str | None = None, line: int | None = None):
        where = "" if path is None else f"{path}" + ("" if line is None else f", line {line}")
        super().__init__(f"{where}: {message}" if where else message)
        self.path = None if path is None else Path(path)
        self.line = line


class BundleError(ScalrecError):
    """A model bundle does not match its manifest; the message names the file."""


class SnapshotError(ScalrecError):
    """Base of everything wrong with a snapshot blob."""


class SnapshotCorrupt(SnapshotError):
    """The blob is truncated, altered or of an unknown format."""


class SnapshotRejected(SnapshotError):
    """A valid blob that this reader must not use: foreign user, older version, other bundle."""


class EmbedderError(ScalrecError):
    """Base of everything wrong with the embedding back end."""


class EmbedderUnavailable(EmbedderError):
    """The embedding server does not answer, or not within the deadline."""


class EmbedderMismatch(EmbedderError):
    """The embedding server answers with vectors of another shape, or not finite ones."""


class GeneratorUnavailable(ScalrecError):
    """The generative recommender cannot be loaded, or does not answer within the deadline."""


class TokenRefused(ScalrecError):
    """A token that opens nothing.

    Args:
        reason: a stable word for logs: ``missing``, ``malformed``, ``unknown-key``,
            ``signature``, ``expired``, ``not-yet``, ``audience``.
        message: what to do about it; never a part of the token.
    """

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


class StoreUnavailable(ScalrecError):
    """The snapshot store (Redis) cannot be reached, or does not do what it is asked.

    Args:
        message: what is the case and what to do about it; names no address and no user.
        condition: a stable word for metrics and logs, those of docs/redis.md.
    """

    def __init__(self, message: str, condition: str = "other"):
        super().__init__(message)
        self.condition = condition


class CloudUnavailable(ScalrecError):
    """The device could not get a snapshot within its deadline and retry budget.

    Args:
        message: what happened.
        reason: a stable word for records: ``deadline``, ``refused`` (429), ``breaker``,
            ``network``, ``server`` (5xx), ``rejected`` (the answer was unusable).
        retry_after_s: seconds the cloud asked to wait, if it did.
    """

    def __init__(self, message: str, reason: str, retry_after_s: float | None = None):
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s


class LaunchError(ScalrecError):
    """A child process did not become ready; the message carries the tail of its log."""
