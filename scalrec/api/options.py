"""Options: what callers may say by keyword, and how it becomes the settings of a command."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from rich.console import Console

from scalrec.console import make_console
from scalrec.options import settings_from
from scalrec.settings import Settings
from shared.errors import ConfigError

PathLike = str | os.PathLike[str]
Assignments = Mapping[str, object]  # settings by their full names, as --set takes them


class Options(TypedDict, total=False):
    """Keywords that several calls take, each the option of that name on the command line.

    Attributes:
        embedder: vllm, transformers or hashing, or one that an installed package brings.
        model: of the embedder: minilm, smollm2, a folder or a hub id.
        profile: of the devices: tiny, small or full.
        seed: of everything random.
        work_dir: where stages, bundles and runs are kept.
    """

    embedder: str
    model: str
    profile: str
    seed: int
    work_dir: PathLike


def settings_for(
    source: Mapping[str, Any], settings: Assignments | None, options: Options, **sections: Any
) -> Settings:
    """The settings in force: file and environment, then ``sections``, then what the caller said.

    Args:
        source: the log, as ``Log.source`` has it; may be empty.
        settings: by full names, on top of all others.

    Raises:
        ConfigError: as on the command line, and for None, which is no value.
    """
    given = dict(source)
    assignments = [*given.pop("assignments", ()), *assigned(settings or {})]
    named: dict[str, Any] = dict(options)
    if "work_dir" in named:
        named["work_dir"] = Path(named["work_dir"])
    return settings_from(**given, **named, assignments=assignments, **sections)


def assigned(settings: Assignments) -> list[str]:
    """``{"device.k": 10}`` as ``["device.k=10"]``, the form of --set."""
    return [f"{name}={_written(name, value)}" for name, value in settings.items()]


def console_for(verbose: bool) -> Console:
    """That of the commands, or one that prints nothing."""
    return make_console() if verbose else Console(quiet=True)


def _written(name: str, value: object) -> str:
    if value is None:
        raise ConfigError(f"{name} is None: leave it out to keep what is set elsewhere")
    return json.dumps(list(value)) if isinstance(value, list | tuple) else str(value)
