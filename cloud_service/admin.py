"""The admin app: metrics, readiness in full and the API's description, on a port of its own inside
the network."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from prometheus_client import CollectorRegistry

from cloud_service.docs_page import docs_page
from cloud_service.http.problems import install_problems
from cloud_service.routes.health import health_router
from cloud_service.routes.metrics import metrics_router


def create_admin_app(public: FastAPI, registry: CollectorRegistry) -> FastAPI:
    """``/metrics`` over ``registry``; ``/readyz`` says why a part is not ready; ``/docs`` and
    ``/openapi.json`` describe ``public``.

    It asks for no token: whoever runs the service keeps its port to themselves.
    """
    admin = FastAPI(
        title=f"{public.title}, admin", docs_url=None, redoc_url=None, redirect_slashes=False
    )
    admin.include_router(metrics_router(registry))
    admin.include_router(health_router(public.state.checks, detailed=True))
    install_problems(admin, public.state.answers)

    @admin.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(
            docs_page(public.openapi()),
            headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"},
        )

    def description() -> dict[str, Any]:
        return public.openapi()

    admin.openapi = description  # type: ignore[method-assign]
    return admin
