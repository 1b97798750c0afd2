"""SettingNames: every setting by its full name, how it is written, and which one was meant."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

PREFIX = "SCALREC_"


class SettingNames:
    """The settings of a model: values and sections, by names like ``device.link.deadline_s``."""

    def __init__(self, model: type[BaseModel]):
        self._fields: Mapping[str, FieldInfo] = dict(_walk(model, ""))

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def nearest(self, name: str) -> str | None:
        """The setting that a wrong name is most like, or None."""
        plain = re.sub(r"[._]+", "_", name)
        for known in self._fields:
            if re.sub(r"[._]+", "_", known) == plain:
                return known
        found = difflib.get_close_matches(name, self._fields, n=1, cutoff=0.6)
        if found:
            return found[0]
        # Right but for its section, or the section's misspelling alone.
        last = [known for known in self._fields if known.rpartition(".")[2] == name.split(".")[-1]]
        return last[0] if len(last) == 1 else None

    def field(self, name: str) -> FieldInfo:
        return self._fields[name]

    def is_section(self, name: str) -> bool:
        return _section(self._fields[name]) is not None

    def is_list(self, name: str) -> bool:
        return _list_of(self._fields[name]) is not None

    def written(self, name: str) -> str:
        """How a list, or a value of a section, is written: by file, option and variable."""
        if self.is_section(name):
            inner = next(one for one in self._fields if one.startswith(f"{name}."))
            return (
                f"it is a section: set its values one by one, as --set {inner}=VALUE or "
                f"{variable(inner)}=VALUE"
            )
        text = self._example(name)
        *_, last = name.split(".")
        return (
            f"write a list, as {last} = {text} in the file, --set '{name}={text}' or "
            f"{variable(name)}='{text}'"
        )

    def _example(self, name: str) -> str:
        field = self._fields[name]
        if field.default:
            return json.dumps(list(field.default))
        (element, *_) = _list_of(field) or (str,)
        if get_origin(element) is Literal:
            return json.dumps(list(get_args(element)[:2]))
        return json.dumps(["one", "two"] if element is str else [1, 2])


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper().replace(".", "__")


def _walk(model: type[BaseModel], path: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        yield path + name, field
        if (inner := _section(field)) is not None:
            yield from _walk(inner, f"{path}{name}.")


def _kinds(field: FieldInfo) -> tuple[Any, ...]:
    return (field.annotation, *get_args(field.annotation))


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kinds = (kind for kind in _kinds(field) if isinstance(kind, type))
    return next((kind for kind in kinds if issubclass(kind, BaseModel)), None)


def _list_of(field: FieldInfo) -> tuple[Any, ...] | None:
    """Types of the elements, or None if it is no list."""
    kinds = (kind for kind in _kinds(field) if get_origin(kind) in (tuple, list))
    return next((get_args(kind) for kind in kinds), None)
