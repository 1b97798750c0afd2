"""The peer of GET snapshot: a bare FastAPI route that answers what one Redis GET returns.

Run as a process of its own: ``python -m benchmarks.bare_route PORT BUNDLE_ID``, with REDIS_URL
in the environment.
"""

from __future__ import annotations

import os
import sys

import redis.asyncio as redis
import uvicorn
from fastapi import FastAPI, Response

from cloud_service.store.snapshot_store import key
from shared.snapshot import MEDIA_TYPE


def bare_app(redis_url: str, bundle_id: str) -> FastAPI:
    """No token, no limit, no check of what is stored, no log, no metric: the least there is."""
    app, client = FastAPI(openapi_url=None), redis.Redis.from_url(redis_url)

    @app.get("/v1/users/{user}/snapshot", response_model=None)
    async def snapshot(user: str) -> Response:
        return Response(await client.get(key(user, bundle_id)), media_type=MEDIA_TYPE)

    return app


if __name__ == "__main__":
    uvicorn.run(
        bare_app(os.environ["REDIS_URL"], sys.argv[2]),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="warning",
        access_log=False,
        server_header=False,
    )
