"""Scenarios by name, or from a YAML file of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from loadtest.scenarios.model import Scenario
from shared.errors import ConfigError, DataError

FOLDER = Path(__file__).parent
_MAX_BYTES = 1 << 18


def scenario_names() -> list[str]:
    """Names of the scenarios that come with scalrec."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_scenario(name: str) -> Scenario:
    """A scenario by its name, or by the path of a YAML file.

    Raises:
        ConfigError: nothing is called that; says what there is.
        DataError: the file is not a scenario; says where and why.
    """
    path = FOLDER / f"{name}.yaml" if name in scenario_names() else Path(name)
    if not path.is_file():
        raise ConfigError(
            f"no scenario {name!r}: one of {', '.join(scenario_names())}, or the path of a "
            "YAML file"
        )
    return read_scenario(path)


def read_scenario(path: Path) -> Scenario:
    """The scenario in a YAML file; raises DataError naming the file and field."""
    try:
        text = path.read_bytes()
        if len(text) > _MAX_BYTES:
            raise DataError(f"a scenario has {_MAX_BYTES} bytes at most", path)
        fields: Any = yaml.safe_load(text)
    except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"not a readable scenario: {error}", path) from error
    if not isinstance(fields, dict):
        raise DataError("expected fields such as name, seed and duration_s", path)
    outages = fields.get("outages")
    if isinstance(outages, dict) and isinstance(outages.get("file"), str):
        # A trace lies beside its scenario, wherever that is read from.
        fields = {**fields, "outages": {**outages, "file": path.parent / outages["file"]}}
    try:
        scenario = Scenario.model_validate(fields)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, p['loc'])) or 'scenario'}: {p['msg']}" for p in error.errors()
        )
        raise DataError(f"invalid scenario: {problems}", path) from error
    if scenario.name != path.stem:
        raise DataError(f"is named {scenario.name!r} inside; name and file must agree", path)
    return scenario
