"""Section: one part of the settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Unknown names are refused, and defaults are held to the same rules as what is given."""

    model_config = ConfigDict(extra="forbid", validate_default=True)
