"""Section: one part of the settings."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

# ``json_schema_extra`` of a field that may differ between machines and leaves results as they are.
MACHINERY: JsonDict = {"decides": False}


class Section(BaseModel):
    """Unknown names are refused, and defaults are held to the same rules as what is given."""

    model_config = ConfigDict(extra="forbid", validate_default=True)


def deciding(section: BaseModel, plain: dict[str, Any]) -> dict[str, Any]:
    """What decides a result: ``plain`` values of a section without the fields of MACHINERY."""
    kept = {}
    for name, value in section:
        if type(section).model_fields[name].json_schema_extra != MACHINERY:
            inner = plain[name]
            kept[name] = deciding(value, inner) if isinstance(value, BaseModel) else inner
    return kept
