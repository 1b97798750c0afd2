"""A device profile as it is given: by name, by a table, or by a name and what differs from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from shared.errors import ConfigError
from shared.profile import DEFAULT, PRESETS, preset


def profile_table(given: Any, changed: Mapping[str, Any] | None = None) -> Any:
    """All limits of the profile that is meant, so that weaker sources have no say in it.

    Args:
        given: the name of a preset, a table as text (JSON) or as a dict. A table that bears the
            name of a preset says what differs from it.
        changed: limits that count before those of ``given``.

    Raises:
        ConfigError: no preset has that name, or the text is no table.
    """
    table = given
    if isinstance(given, str):
        text = given.strip()
        try:
            table = json.loads(text) if text.startswith("{") else preset(text).model_dump()
        except (ValueError, RecursionError) as error:
            raise ConfigError(
                f'profile: {error}; write a name, or a table: {{"name": "full", "window": 30}}'
            ) from error
    if not isinstance(table, dict):
        return table  # its type is wrong, which is told with the others
    merged = {**table, **(changed or {})}
    name = merged.get("name")
    if isinstance(name, str) and name in PRESETS:
        return {**preset(name).model_dump(), **merged}
    return merged


def whole_table(given: Any) -> Any:
    """As ``profile_table``, when every source has had its say: no name means the default profile.

    Not before, or the limits of the default would count more than a profile of a weaker source.
    """
    table = profile_table(given)
    if isinstance(table, dict) and "name" not in table:
        return {**DEFAULT.model_dump(), **table}
    return table
