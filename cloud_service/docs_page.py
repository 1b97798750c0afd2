"""The API's description as one page that loads nothing: no script, no font, no other host."""

from __future__ import annotations

import json
from html import escape
from typing import Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h2 { border-top: 1px solid #ccc; padding-top: 1rem; font-size: 1.1rem } code { font-size: 95% }
table { border-collapse: collapse } td { padding: .1rem 1rem .1rem 0; vertical-align: top }
pre { background: #f4f4f4; padding: .5rem; overflow-x: auto }
"""


def docs_page(schema: dict[str, Any]) -> str:
    """HTML of an OpenAPI ``schema``: each operation with parameters, body and answers, and the
    models they name."""
    info = schema["info"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style>",
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        f"<p>{escape(info.get('description', ''))}</p>",
        "<p>For programs: <a href=openapi.json>openapi.json</a></p>",
    ]
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            parts.append(_operation(method.upper(), path, operation))
    for name, model in sorted(schema.get("components", {}).get("schemas", {}).items()):
        shown = escape(json.dumps(model, indent=2, ensure_ascii=False))
        parts.append(
            f"<h2 id={escape(name)}>{escape(name)}</h2>"
            f"<details><summary>schema</summary><pre>{shown}</pre></details>"
        )
    return "\n".join(parts)


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = [
        f"<tr><td>{escape(each['in'])} <code>{escape(each['name'])}</code>"
        f"<td>{escape(each.get('description', ''))}"
        for each in operation.get("parameters", ())
    ]
    body = operation.get("requestBody", {}).get("content", {})
    rows += [f"<tr><td>body<td>{escape(kind)} {_model(told)}" for kind, told in body.items()]
    for status, answer in operation["responses"].items():
        kinds = ", ".join(
            f"{escape(kind)} {_model(told)}" for kind, told in answer.get("content", {}).items()
        )
        rows.append(f"<tr><td>{escape(status)}<td>{escape(answer['description'])} {kinds}")
    return (
        f"<h2><code>{method} {escape(path)}</code> {escape(operation.get('summary', ''))}</h2>"
        f"<p>{escape(operation.get('description', ''))}</p><table>{''.join(rows)}</table>"
    )


def _model(media: dict[str, Any]) -> str:
    name = escape(media.get("schema", {}).get("$ref", "").rpartition("/")[2])
    return f"<a href=#{name}>{name}</a>" if name else ""
