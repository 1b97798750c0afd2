"""``/metrics``: what Prometheus scrapes."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.responses import Response


def metrics_router(registry: CollectorRegistry) -> APIRouter:
    """The route over one app's registry."""
    router = APIRouter(tags=["metrics"])

    @router.get(
        "/metrics",
        operation_id="metrics",
        summary="Prometheus metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """All counters and histograms of this process, in the text format 0.0.4."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return router
