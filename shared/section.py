"""Section: one part of the settings, kept in the room that reads it; and how settings are shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

from shared.addresses import masked_address, masked_values

# ``json_schema_extra`` of a field that may differ between machines and leaves results as they are.
MACHINERY: JsonDict = {"decides": False}

MAX_SEED = 2**31 - 1  # generators take no negative one, and derive others from it in 64 bits


class Section(BaseModel):
    """Unknown names are refused, and defaults are held to the same rules as what is given."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)


def deciding(section: BaseModel, plain: dict[str, Any]) -> dict[str, Any]:
    """What decides a result: ``plain`` values of a section without the fields of MACHINERY."""
    kept = {}
    for name, value in section:
        if type(section).model_fields[name].json_schema_extra != MACHINERY:
            inner = plain[name]
            kept[name] = deciding(value, inner) if isinstance(value, BaseModel) else inner
    return kept


def deciding_sections(settings: BaseModel, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """``deciding`` of some sections of the settings, by name; secrets as stars."""
    plain = printable(settings)
    return {name: deciding(getattr(settings, name), plain[name]) for name in names}


def printable(settings: BaseModel) -> dict[str, Any]:
    """All settings as plain values; secrets, and those inside addresses, as stars."""
    shown: dict[str, Any] = _shown("", settings.model_dump(mode="json"))
    return shown


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {inner: _shown(inner, told) for inner, told in value.items()}
    if isinstance(value, str) and (name.endswith("url") or "://" in value):
        return masked_address(value)
    return masked_values(value)
