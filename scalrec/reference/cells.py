"""Words as cells of Markdown tables: kinds of values, defaults, descriptions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from reports.markdown import markdown
from reports.text import joined

_CODE = re.compile(r"(`[^`]*`)")
_FORMATS = {"date": "date", "path": "path", "password": "secret text", "binary": "bytes"}
_TYPES = {"integer": "integer", "number": "number", "string": "text", "object": "object"}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table of plain cells: what would end a cell, or be taken for HTML, is escaped."""
    return markdown(head, [[cell(text) for text in row] for row in rows])


def cell(text: str) -> str:
    """One line, in which code stays as it is."""
    parts = _CODE.split(" ".join(text.split()))
    return "".join(part if part.startswith("`") else _escaped(part) for part in parts)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;")


def code(value: object) -> str:
    return f"`{value}`"


def value_told(value: Any) -> str:
    """A default: ``unset``, or as it is written in a settings file or after ``--set``."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return code(str(value).lower())
    if isinstance(value, int | float):
        return code(f"{value:.15g}")
    if isinstance(value, tuple | list):
        return code(json.dumps(list(value)))
    return code(value)


def kind(schema: Mapping[str, Any]) -> str:
    """What a JSON Schema allows, in words: ``integer, 1 or more``.

    A reference to another schema becomes a link to that one's heading on the same page.
    """
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        kinds = [kind(one) for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(kinds)
    if "enum" in schema or "const" in schema:
        return joined([code(value) for value in schema.get("enum", [schema.get("const")])], "or")
    if schema.get("type") == "boolean":
        return "`true` or `false`"
    if schema.get("type") == "array":
        return f"list: each {kind(schema['items'])}"
    named = _FORMATS.get(schema.get("format", "")) or _TYPES[schema["type"]]
    return f"{named}{_bounds(schema)}"


def _bounds(schema: Mapping[str, Any]) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f", {least:.15g} to {most:.15g}"
    told = []
    if least is not None:
        told.append(f", {least:.15g} or more")
    if "exclusiveMinimum" in schema:
        told.append(f" above {schema['exclusiveMinimum']:.15g}")
    if most is not None:
        told.append(f", at most {most:.15g}")
    if "exclusiveMaximum" in schema:
        told.append(f", below {schema['exclusiveMaximum']:.15g}")
    if "maxLength" in schema:
        told.append(f", at most {schema['maxLength']:,} characters")
    if "pattern" in schema:
        told.append(f", as `{schema['pattern']}`")
    return "".join(told)
