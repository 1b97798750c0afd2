"""What a stage reads as plain values, so that equal content has one key."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel

from shared.bundle import encode_catalogue
from shared.interactions import InteractionLog


def content(value: object) -> Any:
    """JSON-like values that say all of ``value``; arrays by type, shape and hash.

    Raises:
        TypeError: it holds something that has no plain content, a function for one.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return [value.dtype.str, list(value.shape), digest]
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(name): content(inner) for name, inner in value.items()}
    if isinstance(value, tuple | list):
        return [content(inner) for inner in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: content(getattr(value, field.name)) for field in fields}
    raise TypeError(f"a stage cannot read a {type(value).__name__}")


def fingerprint(log: InteractionLog) -> str:
    """Hash over everything of a log that training reads."""
    digest = hashlib.sha256(encode_catalogue(log.catalogue))
    for column in (log.user, log.item, log.time, log.utc_offset_min, log.session):
        digest.update(b"-" if column is None else str(column.dtype).encode() + column.tobytes())
    digest.update("\0".join(log.query or ()).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
