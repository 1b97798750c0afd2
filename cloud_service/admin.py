"""The admin app: metrics and the API's description, on a port of its own inside the network."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from cloud_service.routes.metrics import metrics_router


def create_admin_app(public: FastAPI, registry: CollectorRegistry) -> FastAPI:
    """``/metrics`` over ``registry``; ``/docs`` and ``/openapi.json`` describe ``public``.

    It asks for no token: whoever runs the service keeps its port to themselves.
    """
    admin = FastAPI(title=f"{public.title}, admin", redoc_url=None)
    admin.include_router(metrics_router(registry))

    def description() -> dict[str, Any]:
        return public.openapi()

    admin.openapi = description  # type: ignore[method-assign]
    return admin
