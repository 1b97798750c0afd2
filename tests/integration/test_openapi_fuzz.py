"""The API against its own OpenAPI document: requests nobody thought of get documented answers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from pydantic import SecretStr
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.schemas import OpenApiSchema

from cloud_service.app import create_app
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.store.snapshot_store import MemorySnapshotStore
from shared.errors import ConfigError
from shared.tokens import KeyRing, TokenIssuer, new_key
from tests.support.bundles import make_bundle
from tests.support.cloud import cloud_settings, quiet
from tests.support.tiers import first_quick
from tests.unit.cloud_service.conftest import SwitchableStore
from tests.unit.cloud_service.test_user_model import Switchable

KEY = new_key("fuzz")
CHECKED = CHECKS.get_all()
# A request that breaks several rules may be refused for its size before it is read.
REFUSED = [401, 403, 404, 405, 409, 413, 415, 422, 429, 431, 503]
CONFIG = SchemathesisConfig.from_dict(
    {"checks": {"negative_data_rejection": {"expected-statuses": REFUSED}}}
)
FUZZ = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def described(app: FastAPI) -> OpenApiSchema:
    """What the admin port publishes, with the app behind it in this process."""
    schema = schemathesis.openapi.from_dict(app.openapi(), config=CONFIG)
    schema.app = app
    return schema


def make_app(folder: Path, store: MemorySnapshotStore, embedder: HashingEmbedder) -> FastAPI:
    return create_app(
        cloud_settings(auth="required", auth_keys=SecretStr(KEY)),
        bundle=make_bundle(folder / "bundle"),
        embedder=embedder,
        store=store,
        telemetry=quiet()[0],
    )


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> OpenApiSchema:
    app = make_app(tmp_path_factory.mktemp("up"), MemorySnapshotStore(), HashingEmbedder(16))
    return described(app)


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> OpenApiSchema:
    """A cloud whose embedder and store are away."""
    store, embedder = SwitchableStore(), Switchable()
    store.down = embedder.down = True
    return described(make_app(tmp_path_factory.mktemp("down"), store, embedder))


def authorise(case: Case) -> None:
    """Show the token of the user in the path, where that can be a user at all."""
    user = str((case.path_parameters or {}).get("user", ""))
    issuer = TokenIssuer(KeyRing.parse(KEY, source="test"), 600.0, time.time)
    try:
        case.headers["Authorization"] = f"Bearer {issuer.issue(user)}"
    except ConfigError:
        return


OPERATIONS = [
    ("POST", "/v1/users/{user}/snapshot"),
    ("GET", "/v1/users/{user}/snapshot"),
    ("GET", "/v1/bundle"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
]
MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]


def fuzz(schema: OpenApiSchema, operation: tuple[str, str], check: Callable[[Case], None]) -> None:
    """``check`` on requests that fit the document and on requests that do not.

    Hypothesis runs it by hand: Schemathesis' own pytest integration does not know pytest 9.
    """
    method, path = operation
    for mode in MODES:
        try:
            cases = schema[path][method].as_strategy(generation_mode=mode)
            FUZZ(given(case=cases)(check))()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE  # nothing in the request can be wrong


def test_every_operation_is_fuzzed(healthy: OpenApiSchema) -> None:
    found = {(o.ok().method.upper(), o.ok().path) for o in healthy.get_all_operations()}
    assert found == set(OPERATIONS)


@pytest.mark.parametrize("operation", first_quick(zip(OPERATIONS), 2))
def test_as_generated(healthy: OpenApiSchema, operation: tuple[str, str]) -> None:
    def check(case: Case) -> None:
        case.call_and_validate(checks=CHECKED)

    fuzz(healthy, operation, check)


@pytest.mark.parametrize("operation", first_quick(zip(OPERATIONS), 2))
def test_with_the_token_of_the_user(healthy: OpenApiSchema, operation: tuple[str, str]) -> None:
    seen: Counter[int] = Counter()

    def check(case: Case) -> None:
        authorise(case)
        response = case.call()
        seen[response.status_code] += 1
        case.validate_response(response, checks=CHECKED)

    fuzz(healthy, operation, check)
    assert seen[200], "no request came through"


@pytest.mark.parametrize("operation", first_quick(zip(OPERATIONS), 2))
def test_a_failing_cloud_gives_documented_answers_too(
    failing: OpenApiSchema, operation: tuple[str, str]
) -> None:
    seen: Counter[int] = Counter()

    def check(case: Case) -> None:
        authorise(case)
        response = case.call()
        seen[response.status_code] += 1
        assert response.status_code != 500
        case.validate_response(response, checks=[c for c in CHECKED if c is not not_a_server_error])

    fuzz(failing, operation, check)
    assert seen[200 if operation[1] in ("/v1/bundle", "/healthz") else 503]
