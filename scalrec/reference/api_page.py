"""The page of the HTTP API, from its OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from scalrec.reference.cells import code, kind, table, value_told

_HEAD = """\
# HTTP API

{about}
A running service describes itself on its admin port: `/docs` for people, `/openapi.json` for
programs. The [metrics](../metrics.md) are there, too. Who may ask, and with which token:
[keys](../keys.md).

"""


def api_page(schema: Mapping[str, Any]) -> str:
    """Operations with their parameters, bodies and answers, then the bodies' fields.

    Args:
        schema: OpenAPI 3.1, as FastAPI makes it.
    """
    parts = [_HEAD.format(about=schema["info"]["description"])]
    for path, operations in schema["paths"].items():
        parts += [_operation(method, path, told) for method, told in operations.items()]
    models = schema["components"]["schemas"]
    parts += [_model(name, models[name]) for name in sorted(models)]
    return "".join(parts)


def _operation(method: str, path: str, told: Mapping[str, Any]) -> str:
    parts = [f"## {told['summary']}\n\n{code(f'{method.upper()} {path}')}\n\n"]
    parts.append(f"{told.get('description', '')}\n\n")
    if told.get("security"):
        parts.append("Asks for a token: `Authorization: Bearer TOKEN`.\n\n")
    rows = [
        [f"{each['in']} {code(each['name'])}", kind(each["schema"]), each.get("description", "")]
        for each in told.get("parameters", ())
    ]
    for media, body in told.get("requestBody", {}).get("content", {}).items():
        rows.append([f"body, {code(media)}", kind(body["schema"]), ""])
    if rows:
        parts.append(table(["given", "value", "meaning"], rows) + "\n")
    answers = sorted(told["responses"].items())
    parts.append(table(["status", "answer"], [_answer(*answer) for answer in answers]) + "\n")
    parts += [_headers(answer) for _, answer in answers if answer.get("content") and _ok(answer)]
    parts += [_example(answer) for _, answer in answers]
    return "".join(parts)


def _answer(status: str, answer: Mapping[str, Any]) -> list[str]:
    """What a status means; of problems each type that has it."""
    told = []
    for media, body in answer.get("content", {}).items():
        problems = [each["value"] for each in body.get("examples", {}).values()]
        told += [f"{code(each['type'])}: {each['title']}" for each in problems]
        if not problems:
            told.append(f"{code(media)}: {kind(body['schema'])}")
    return [status, "; ".join(told) or answer["description"]]


def _ok(answer: Mapping[str, Any]) -> bool:
    return not any("problem" in media for media in answer["content"])


def _headers(answer: Mapping[str, Any]) -> str:
    rows = [[code(name), head["description"]] for name, head in answer.get("headers", {}).items()]
    return table(["header of the answer", "meaning"], rows) + "\n" if rows else ""


def _example(answer: Mapping[str, Any]) -> str:
    """An answer as JSON, where one is given; problems all look alike."""
    for body in answer.get("content", {}).values():
        if "example" in body:
            return f"```json\n{json.dumps(body['example'], indent=2)}\n```\n\n"
    return ""


def _model(name: str, model: Mapping[str, Any]) -> str:
    words = model.get("description", "").replace("``", "`")
    head = f"## {name}\n\n{words}\n\n"
    if "enum" in model:
        return head + "\n".join(f"- {code(value)}" for value in model["enum"]) + "\n\n"
    needed = model.get("required", ())
    rows = [
        [
            code(field),
            kind(told),
            "required" if field in needed else value_told(told.get("default")),
            told.get("description", ""),
        ]
        for field, told in model["properties"].items()
    ]
    parts = [head, table(["field", "value", "default", "meaning"], rows), "\n"]
    parts += [
        f"```json\n{json.dumps(example, indent=2)}\n```\n\n"
        for example in model.get("examples", ())
    ]
    return "".join(parts)
