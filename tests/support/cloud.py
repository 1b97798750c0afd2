"""The cloud service as tests use it: short deadlines, the tiny bundle, a quiet log."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2 as httpx
from asgi_lifespan import LifespanManager
from fastapi import FastAPI

from cloud_service.admin import create_admin_app
from cloud_service.settings import CloudSettings
from cloud_service.telemetry.telemetry import Telemetry
from scalrec.settings import Settings
from training.settings import TextModelSettings


def cloud_settings(*, embedder: dict[str, Any] | None = None, **cloud: Any) -> Settings:
    """Settings of a cloud over the hashing embedder; deadlines of one second or less.

    It asks for no tokens and limits no device, unless told otherwise.
    """
    return Settings(
        embedder=TextModelSettings(
            **{"backend": "hashing", "model": "hashing-16", "deadline_s": 1.0} | (embedder or {})
        ),
        cloud=CloudSettings(
            **{
                "candidates": 10,
                "auth": "off",
                "device_requests_per_minute": 0,
            }
            | cloud
        ),
    )


def quiet() -> tuple[Telemetry, io.StringIO]:
    """Telemetry whose log lines go into the buffer."""
    log = io.StringIO()
    return Telemetry.create(level="debug", stream=log), log


def admin_client(app: FastAPI, telemetry: Telemetry) -> httpx.AsyncClient:
    """In-process client of the admin port of an app whose lifespan runs already."""
    admin = create_admin_app(app, telemetry.metrics.registry)
    return httpx.AsyncClient(transport=httpx.ASGITransport(admin), base_url="http://admin.test")


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """In-process client; the app's lifespan runs around it."""
    async with (
        LifespanManager(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://cloud.test"
        ) as client,
    ):
        yield client
