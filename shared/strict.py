"""Strict: what every model of a file, a message or a table has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Cannot be changed once made, and refuses keys it does not know: a misspelt one would
    otherwise silently mean its default."""

    model_config = ConfigDict(frozen=True, extra="forbid")
