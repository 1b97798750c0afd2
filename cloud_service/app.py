"""The cloud service put together: ``create_app`` wires the parts, each made elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from cloud_service.embedding.base import Embedder
from cloud_service.embedding.factory import create_embedder
from cloud_service.generation.base import Generator, ToldItems
from cloud_service.generation.t5 import T5Generator
from cloud_service.http.audit import AuditLog, Pseudonyms
from cloud_service.http.draining import Draining
from cloud_service.http.middleware import RequestEnvelope, SizeLimits
from cloud_service.http.problems import RETRY_AFTER_S, ProblemAnswers, install_problems
from cloud_service.http.security import Admission, required_keys
from cloud_service.limits import DeviceRates, Limiter
from cloud_service.retrieval.making import candidate_index
from cloud_service.routes.bundle import bundle_router
from cloud_service.routes.health import bundle_check, health_router
from cloud_service.routes.snapshots import snapshot_routes
from cloud_service.settings import CloudSettings, ServiceSettings
from cloud_service.snapshot_service import SnapshotService
from cloud_service.store.snapshot_store import (
    REORDER_WINDOW_S,
    STORE_DEADLINE_S,
    RedisSnapshotStore,
    SnapshotStore,
)
from cloud_service.telemetry.telemetry import Telemetry
from cloud_service.telemetry.traced import TracedEmbedder, TracedStore
from cloud_service.user_model import UserModel
from shared.bundle import Bundle
from shared.errors import ConfigError, ScalrecError
from shared.line_rates import LineRates
from shared.schemas import MAX_BODY_BYTES, MAX_HEADER_BYTES, Problem
from shared.snapshot import most_candidates
from shared.tracing import Tracing

_DESCRIPTION = """\
Turns a device's abstract of its user into a **snapshot**: a semantic user embedding and the
candidates retrieved with it. Every error is a problem document (RFC 9457) with a stable `type`.
"""


def create_app(
    settings: ServiceSettings,
    *,
    bundle: Bundle,
    embedder: Embedder | None = None,
    store: SnapshotStore | None = None,
    telemetry: Telemetry | None = None,
    tracing: Tracing | None = None,
    draining: Draining | None = None,
    now: Callable[[], float] = time.time,
) -> FastAPI:
    """The ASGI app. It starts whether or not Redis and the embedder answer, and recovers.

    Args:
        settings: of the cloud and the embedder.
        bundle: verified by ``load_bundle``.
        embedder: None makes the one of the settings; one passed in stays its owner's to close.
        store: None connects to ``cloud.redis_url``; one passed in stays its owner's to close.
        telemetry: None logs to stderr.
        tracing: gets a span per request, embedding and store call; None makes none.
        draining: makes /readyz say no once the service is about to stop.
        now: Unix seconds; a replay under a virtual clock brings its own.

    Raises:
        ConfigError: the settings lack what a part needs, a key to check tokens with for example,
            or ask for generated candidates of a bundle without a generator, or for more recall
            than an approximate index has.
    """
    cloud = settings.cloud
    _require_room(bundle, cloud.candidates)
    _require_window(settings)
    ring = required_keys(cloud)
    pseudonyms = Pseudonyms(ring)
    telemetry = telemetry or Telemetry.create(level=cloud.log_level)
    owned = AsyncExitStack()
    audit = AuditLog(telemetry.log, LineRates(time.monotonic))
    owned.callback(audit.close)
    if embedder is None:
        embedder = create_embedder(settings.embedder, model_dir=None, tracing=tracing)
        owned.push_async_callback(embedder.aclose)
    if store is None:
        store = _redis_store(cloud, telemetry)
        owned.push_async_callback(store.aclose)
    if tracing is None:
        tracing = Tracing()
    else:
        embedder, store = TracedEmbedder(embedder, tracing), TracedStore(store, tracing)
    generator: T5Generator | None = None
    if cloud.candidates_from == "generative":
        generator = T5Generator(bundle, n=cloud.candidates)
        owned.push_async_callback(generator.aclose)
    user_model = UserModel(bundle, embedder, deadline_s=settings.embedder.deadline_s)
    index, recall = candidate_index(bundle.semantic_vectors(), cloud, user_model.fixed_embeddings())
    # Half of the deadline for waiting at most, so that whoever gets a slot has time to use it.
    limiter = Limiter(cloud.max_in_flight, cloud.max_waiting, settings.embedder.deadline_s / 2)
    rates = DeviceRates(cloud.device_requests_per_minute, cloud.device_burst, _loop_time)
    telemetry.metrics.watch(limiter, rates)
    service = SnapshotService(
        bundle,
        user_model,
        index,
        store,
        limiter,
        telemetry,
        candidates=cloud.candidates,
        deadline_s=settings.embedder.deadline_s,
        generator=generator,
        now=now,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with owned:
            telemetry.log.info("cloud service starts", bundle=bundle.id, log=bundle.manifest.log)
            if recall is not None:
                telemetry.log.info("candidates are found by an index", **asdict(recall))
            if not user_model.measured:
                telemetry.log.warning(
                    "the bundle keeps no vectors of fixed texts, so another text model of the same "
                    "name would go unnoticed; `scalrec export` makes one that does"
                )
            # In the background: a model may take long to load, and may come up after us.
            warm_up = asyncio.create_task(_warm_up(store, user_model, generator, telemetry))
            try:
                yield
            finally:
                warm_up.cancel()
                with suppress(asyncio.CancelledError):
                    await warm_up

    app = FastAPI(
        title="scalrec cloud service",
        version=bundle.manifest.scalrec,
        description=_DESCRIPTION,
        lifespan=lifespan,
        # Described on the admin port; this one serves nothing but the API.
        openapi_url=None,
        # A redirect would be built from a Host header that anybody can send.
        redirect_slashes=False,
    )
    checks = {"store": store.ping, "embedder": user_model.check, "bundle": bundle_check(bundle)}
    if generator is not None:
        checks["generator"] = generator.ready
    if draining is not None:
        checks["service"] = draining.check
    told = None if generator is None else ToldItems(generator.tokens)
    admission = Admission(ring, rates, pseudonyms, now)
    # Not included as a router, whose matching of paths costs more than a look into the store.
    app.router.routes.extend(
        snapshot_routes(
            service, admission, bundle_id=bundle.id, keep_s=settings.cloud.snapshot_ttl_s, told=told
        )
    )
    app.include_router(bundle_router(bundle))
    app.include_router(health_router(checks))
    answers = ProblemAnswers(
        telemetry=telemetry,
        audit=audit,
        retry_after_s=RETRY_AFTER_S,
    )
    install_problems(app, answers)
    app.add_middleware(
        SizeLimits,
        answers=answers,
        max_header_bytes=MAX_HEADER_BYTES,
        max_body_bytes=MAX_BODY_BYTES,
    )
    app.add_middleware(RequestEnvelope, answers=answers, tracing=tracing)  # last: runs outermost
    app.state.checks, app.state.answers = checks, answers  # for the admin app
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _redis_store(cloud: CloudSettings, telemetry: Telemetry) -> RedisSnapshotStore:
    if cloud.redis_url is None:
        raise ConfigError(
            "the cloud service needs a Redis: set cloud.redis_url or REDIS_URL, or let "
            "`scalrec serve` start one"
        )

    def dropped(why: str) -> None:
        telemetry.metrics.store_drops.labels(why).inc()
        telemetry.log.warning("connections to the snapshot store dropped", condition=why)

    return RedisSnapshotStore(
        cloud.redis_url.get_secret_value(),
        ttl_s=cloud.snapshot_ttl_s,
        deadline_s=STORE_DEADLINE_S,
        max_connections=cloud.max_in_flight,
        dropped=dropped,
    )


def _require_room(bundle: Bundle, candidates: int) -> None:
    """Every snapshot must fit the size that its readers accept."""
    manifest = bundle.manifest
    most = most_candidates(manifest.dim, vectors=manifest.vectors_in_snapshot)
    if min(candidates, manifest.n_items) > most:
        raise ConfigError(
            f"cloud.candidates is {candidates}, but a snapshot holds {most} of them at most"
        )


def _require_window(settings: ServiceSettings) -> None:
    """Refreshes under way at the same time must fall within the window that orders them."""
    most_s = REORDER_WINDOW_S - STORE_DEADLINE_S
    if settings.embedder.deadline_s >= most_s:
        raise ConfigError(
            f"embedder.deadline_s is {settings.embedder.deadline_s:g}, but snapshots made more than"
            f" {most_s:g} s apart would be stored out of order; set it lower"
        )


async def _warm_up(
    store: SnapshotStore, user_model: UserModel, generator: Generator | None, telemetry: Telemetry
) -> None:
    parts = {"store": store.ping, "embedder": user_model.check}
    if generator is not None:
        parts["generator"] = generator.ready
    for name, ready in parts.items():
        try:
            await ready()
        except ScalrecError as error:
            telemetry.log.warning(f"{name} is not ready yet", reason=str(error))


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's schema plus the Problem model, which routes refer to under its own media type."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schema["components"]["schemas"] |= {**problem.pop("$defs"), "Problem": problem}
        app.openapi_schema = schema
    return app.openapi_schema
