"""The page of the HTTP API says all that the service's OpenAPI document says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloud_service.app import create_app
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.store.snapshot_store import MemorySnapshotStore
from scalrec.reference.api_page import api_page
from shared.schemas import ProblemType
from tests.support.bundles import make_bundle
from tests.support.cloud import cloud_settings, quiet


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("api")
    return create_app(
        cloud_settings(auth="off"),
        bundle=make_bundle(folder / "bundle"),
        embedder=HashingEmbedder(16),
        store=MemorySnapshotStore(),
        telemetry=quiet()[0],
    ).openapi()


def test_each_operation_with_its_answers(schema: dict[str, Any]) -> None:
    page = api_page(schema)
    parts = {part.split("`")[1]: part for part in page.split("\n## ")[1:] if "\n\n`" in part}
    for path, operations in schema["paths"].items():
        for method, told in operations.items():
            part = parts[f"{method.upper()} {path}"]
            assert part.startswith(told["summary"])
            for status in told["responses"]:
                assert f"\n| {status} | " in part
            for given in told.get("parameters", ()):
                assert f"{given['in']} `{given['name']}`" in part


def test_each_field_of_each_body_is_described(schema: dict[str, Any]) -> None:
    page = api_page(schema)
    for name in ("SnapshotRequest", "SnapshotResponse", "BundleResponse", "HealthResponse"):
        part = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        for field, told in schema["components"]["schemas"][name]["properties"].items():
            assert told.get("description"), f"{name}.{field} says nothing of itself"
            (row,) = [line for line in part.splitlines() if line.startswith(f"| `{field}` |")]
            assert told["description"] in row
            assert len(row.split(" | ")) == 4


def test_each_problem_has_its_words(schema: dict[str, Any]) -> None:
    page = api_page(schema)
    for problem in ProblemType:
        assert f"- `{problem}`" in page
    assert "| 409 | `urn:scalrec:bundle-mismatch`: " in page


def test_an_operation_that_asks_for_a_token_says_so(schema: dict[str, Any]) -> None:
    page = api_page(schema)
    assert "`Authorization: Bearer TOKEN`" in page.partition("`POST /v1/users/")[2][:900]
    assert "Bearer" not in page.partition("`GET /healthz`")[2].partition("\n## ")[0]
