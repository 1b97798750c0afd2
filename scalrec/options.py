"""Options many commands share, and how they become setting overrides."""

from __future__ import annotations

import copy
import inspect
import json
import os
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr

from scalrec.profile_table import profile_table
from scalrec.settings import Settings, load_settings
from shared.errors import ConfigError
from shared.profile import DeviceProfile
from training.data.columns import ONE_BY_ONE
from training.data.reading.parts import is_pattern, name_of

Given = Callable[..., Settings]  # ``settings_from`` with what the options of a command were given

LogOption = Annotated[
    str | None,
    typer.Option("--log", help="The dataset: a known log (`scalrec data list`) or your own file."),
]
ColumnsOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Columns of your file: user=U,item=I[+I2],time=T[,session=S][,text=X]; or repeated, "
        "one ROLE=COLUMN each, for names with commas, equals or plus signs."
    ),
]
ItemsOption = Annotated[
    Path | None, typer.Option(help="File with item id and item text, for your own log.")
]
EmbedderOption = Annotated[
    str | None, typer.Option("--embedder", help="vllm, transformers or hashing (tests only).")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="minilm, smollm2, a model folder or a hub id.")
]
ProfileOption = Annotated[
    str | None,
    typer.Option("--profile", help="Device profile: tiny, small, full (`scalrec profiles`)."),
]
SeedOption = Annotated[int | None, typer.Option(help="Seed of everything random.")]
WorkDirOption = Annotated[
    Path | None, typer.Option("--work-dir", help="Where stages, bundles and runs are kept.")
]
DashboardOption = Annotated[
    int | None,
    typer.Option("--dashboard", help="Serve a live view on this port; 0 picks a free one."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting: section.key=value, e.g. device.k=10. Repeatable."),
]


def settings_from(
    *,
    log: LogOption = None,
    columns: ColumnsOption = None,
    items: ItemsOption = None,
    embedder: EmbedderOption = None,
    model: ModelOption = None,
    profile: ProfileOption = None,
    seed: SeedOption = None,
    work_dir: WorkDirOption = None,
    assignments: SetOption = None,
    **sections: dict[str, Any],
) -> Settings:
    """Settings with the given options on top; options left at None keep file and environment.

    Raises ConfigError for an assignment that is not section.key=value.
    """
    overrides: dict[str, Any] = {name: _given(values) for name, values in sections.items()}
    overrides.setdefault("log", {}).update(_log_overrides(log, one_spec(columns), items))
    overrides.setdefault("embedder", {}).update(_given({"backend": embedder, "model": model}))
    overrides.update(_given({"profile": profile, "seed": seed, "work_dir": work_dir}))
    return settings_over(overrides, assignments)


def options(names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options that ``names`` lists in order, some of them its own.

    A name that is no parameter of the command is that of ``settings_from``. What such options were
    given reaches the command as its first argument: ``settings_from``, but for sections.

    Raises:
        TypeError: a parameter of the command's own is not listed, and so could never be given.
    """

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters
        shared = inspect.signature(settings_from, eval_str=True).parameters
        listed = [own.get(name) or shared[name] for name in names.split()]
        unlisted = [name for name in list(own)[1:] if name not in names.split()]
        if unlisted:
            raise TypeError(f"{command.__name__}: {', '.join(unlisted)} is not among its options")

        def run(**values: Any) -> None:
            given = {name: values.pop(name) for name in list(values) if name not in own}
            command(partial(settings_from, **given), **values)

        run.__name__, run.__doc__, run.__module__ = (
            command.__name__, command.__doc__, command.__module__,
        )  # fmt: skip
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in listed}
        keyword = inspect.Parameter.KEYWORD_ONLY
        signature = inspect.Signature([p.replace(kind=keyword) for p in listed])
        run.__signature__ = signature  # type: ignore[attr-defined]
        return run

    return decorated


def settings_over(overrides: dict[str, Any], assignments: list[str] | None = None) -> Settings:
    """Settings with nested ``overrides`` on top, and ``--set`` assignments on top of those."""
    overrides = copy.deepcopy(overrides)
    for assignment in assignments or []:
        _assign(overrides, assignment)
    return load_settings(**_drop_empty(overrides))


def settings_environment(settings: Settings) -> dict[str, str]:
    """The same settings as SCALREC_* variables, for a child process; secrets travel only here."""
    flat: dict[str, str] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, SecretStr):
            flat[prefix] = value.get_secret_value()
        elif isinstance(value, DeviceProfile):
            # Whole and one by one, or a name or a limit that is inherited here would win.
            flat[prefix] = value.model_dump_json()
            flat.update({f"{prefix}__{name.upper()}": str(limit) for name, limit in value})
        elif hasattr(value, "model_dump"):
            for name in type(value).model_fields:
                walk(f"{prefix}__{name.upper()}", getattr(value, name))
        elif isinstance(value, tuple | list):
            flat[prefix] = json.dumps(value)
        elif value is not None:
            flat[prefix] = str(value)

    for name in type(settings).model_fields:
        walk(f"SCALREC_{name.upper()}", getattr(settings, name))
    return flat


def among(known: Collection[str], kind: str, text: str | None) -> tuple[str, ...] | None:
    """The names in ``text``, comma between; raises ConfigError unless each of them is ``known``."""
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"no {kind} {unknown[0]!r}: one of {', '.join(known)}")
    return names


def one_spec(columns: list[str] | None) -> str | None:
    """What ``--columns`` was given, as the setting has it: several are one a line."""
    return None if columns is None else ONE_BY_ONE.join(columns)


def _log_overrides(log: str | None, columns: str | None, items: Path | None) -> dict[str, Any]:
    if log is None:
        return _given({"columns": columns, "items": items})
    if not log.strip():
        raise ConfigError("--log is empty; write a name or a file (a variable may not be set)")
    path = Path(log)
    if path.exists() or path.suffix or os.sep in log or is_pattern(path):
        if not (path.exists() or is_pattern(path)):
            raise ConfigError(
                f"--log {log}: no such file; name a file, a folder of parts, a pattern or a known "
                "dataset (`scalrec data list`)"
            )
        name = name_of(path)
        return _given({"name": name, "path": path, "columns": columns, "items": items})
    # Explicitly none: the settings file may name a file of the user's own.
    return {"name": log, "path": None, "columns": columns, "items": items}


def _assign(overrides: dict[str, Any], assignment: str) -> None:
    key, separator, value = assignment.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"--set {assignment}: expected section.key=value, e.g. device.k=10")
    *sections, name = key.strip().split(".")
    if "profile" in (name, *sections[:1]) and len(sections) < 2:
        _assign_profile(overrides, name if sections else None, value.strip())
        return
    target = overrides
    for section in sections:
        target = target.setdefault(section, {})
        if not isinstance(target, dict):
            raise ConfigError(f"--set {assignment}: {section} is a setting, not a section")
    target[name] = _parse(value.strip())


def _assign_profile(overrides: dict[str, Any], limit: str | None, value: str) -> None:
    """A profile by its name, or one limit of it; the order of both does not matter."""
    given = overrides.get("profile", {})
    changed = given if isinstance(given, dict) else {}
    if limit in (None, "name"):
        overrides["profile"] = profile_table(value, changed)
    else:
        overrides["profile"] = profile_table(given, {limit: value})


def _parse(value: str) -> Any:
    """Lists are JSON; everything else is text that the setting's own type converts.

    Names and paths may begin with a bracket, too, and are no JSON then.
    """
    if not value.startswith("["):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        # A setting that is a list says what it wants, with an example.
        return value


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _drop_empty(overrides: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in overrides.items() if value != {}}
