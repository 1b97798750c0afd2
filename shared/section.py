"""Section: one part of the settings, kept in the room that reads it; and how settings are shown."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

_USERINFO = re.compile(r"^([a-z][a-z0-9+.-]*://)[^/?#]*@", re.IGNORECASE)

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


def printable(settings: BaseModel) -> dict[str, Any]:
    """All settings as plain values; secrets, and passwords inside addresses, as stars."""
    masked: dict[str, Any] = _mask_userinfo(settings.model_dump(mode="json"))
    return masked


def _mask_userinfo(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _mask_userinfo(inner) for name, inner in value.items()}
    if isinstance(value, str):
        return _USERINFO.sub(r"\1**********@", value)
    return value
