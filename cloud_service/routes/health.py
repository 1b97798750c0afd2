"""``/healthz``: the process lives. ``/readyz``: it and all it needs can serve."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from fastapi import APIRouter

from cloud_service.coalescing import Coalescer
from cloud_service.http.draining import Stopping
from cloud_service.http.problems import ProblemError, documented
from shared.bundle import Bundle, load_bundle
from shared.errors import ScalrecError
from shared.schemas import HealthResponse, ProblemType

Check = Callable[[], Awaitable[None]]

CHECK_TIMEOUT_S = 2.0
DOWN = "not ready"


def health_router(
    checks: Mapping[str, Check], timeout_s: float = CHECK_TIMEOUT_S, *, detailed: bool = False
) -> APIRouter:
    """Routes over ``checks``: name -> something that raises ScalrecError when it is not ready.

    Args:
        detailed: also tell why a part is not ready, which names machines: for the admin port.
    """
    router = APIRouter(tags=["health"])

    @router.get("/healthz", operation_id="alive", summary="Alive", responses=documented())
    async def healthz() -> HealthResponse:
        """The process answers; says nothing of what it depends on."""
        return HealthResponse(status="ok")

    @router.get(
        "/readyz",
        operation_id="ready",
        summary="Ready to serve",
        responses=documented(ProblemType.NOT_READY),
    )
    async def readyz() -> HealthResponse:
        """Asks the store, the embedder and the bundle; `checks` tells which are ready. Why one is
        not is told at the admin port."""
        found = await asyncio.gather(*(_state(check, timeout_s) for check in checks.values()))
        told = [state.words if detailed else state.public for state in found]
        results = dict(zip(checks, told, strict=True))
        down = [name for name, state in results.items() if state != "ok"]
        if down:
            detail = "; ".join(f"{name}: {results[name]}" for name in down)
            raise ProblemError(ProblemType.NOT_READY, detail, checks=results)
        return HealthResponse(status="ready", checks=results)

    return router


def bundle_check(bundle: Bundle) -> Check:
    """Whether the files on disk still are the bundle that is being served.

    Reads all of them, so probes at the same time share one reading.
    """
    readings: Coalescer[str, Bundle] = Coalescer()

    async def check() -> None:
        found = await readings.run("bundle", lambda: asyncio.to_thread(load_bundle, bundle.path))
        if found.id != bundle.id:
            raise ScalrecError(
                f"{bundle.path} now holds bundle {found.id}; restart the service to serve it"
            )

    return check


@dataclass(frozen=True, slots=True)
class _State:
    """Attributes: words for whoever runs the service; public: for strangers."""

    words: str
    public: str


async def _state(check: Check, timeout_s: float) -> _State:
    try:
        async with asyncio.timeout(timeout_s):
            await check()
    except TimeoutError:
        words = f"no answer within {timeout_s:g} s"
        return _State(words, words)
    except Stopping as stopping:
        return _State(str(stopping), str(stopping))
    except ScalrecError as error:
        return _State(str(error), DOWN)
    return _State("ok", "ok")
