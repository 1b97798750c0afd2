"""POST snapshot through the service against the raw embedding server, at equal concurrency."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence

import httpx
import numpy as np

from cloud_service.embedding.base import model_name
from scalrec.bench.timing import Comparison
from scalrec.cloud_keys import token_source
from scalrec.cloud_stack import RunningCloud
from scalrec.embedder_server import ServedEmbedder
from shared.snapshot import MEDIA_TYPE

ROUNDS = 8
REQUESTS = 64
TIMEOUT_S = 60.0
Call = Callable[[httpx.AsyncClient, str, int], Awaitable[httpx.Response]]


async def compare_cloud(
    cloud: RunningCloud, served: ServedEmbedder, abstracts: Sequence[str], *, concurrency: int = 8
) -> list[Comparison]:
    """Requests per second of both, in alternating rounds over abstracts nobody has sent before.

    Args:
        abstracts: at least 2 x (ROUNDS + 1) x REQUESTS distinct texts.
    """
    texts = iter(abstracts)
    users = itertools.count()
    settings, url = served.settings, cloud.url
    tokens = token_source(cloud.settings, time.time)

    async def through_service(client: httpx.AsyncClient, text: str, user: int) -> httpx.Response:
        name = f"bench-{user}"
        headers = {"Accept": MEDIA_TYPE}
        if tokens is not None:
            headers["Authorization"] = f"Bearer {await tokens.token(name)}"
        return await client.post(
            f"{url}/v1/users/{name}/snapshot",
            json={"abstract": text, "step": 1},
            headers=headers,
        )

    async def raw(client: httpx.AsyncClient, text: str, user: int) -> httpx.Response:
        body = {"model": model_name(settings.model), "input": [text], "encoding_format": "base64"}
        return await client.post(f"{settings.url}/v1/embeddings", json=body)

    async def rate(call: Call) -> float:
        batch = [(text, next(users)) for text in itertools.islice(texts, REQUESTS)]
        return await _rate(call, batch, concurrency)

    for call in (through_service, raw):
        await rate(call)
    rates = np.array([[await rate(through_service), await rate(raw)] for _ in range(ROUNDS)])
    ours, theirs = np.median(rates, axis=0)
    return [
        Comparison(
            f"POST snapshot / raw embedding server, {concurrency} at once",
            float(ours),
            float(theirs),
            "requests/s",
            float(np.median(rates[:, 0] / rates[:, 1])),
            "higher, 1 is the limit",
        )
    ]


async def _rate(call: Call, batch: list[tuple[str, int]], concurrency: int) -> float:
    """Requests per second with ``concurrency`` of them under way; any failure raises."""
    waiting = iter(batch)
    limits = httpx.Limits(max_connections=concurrency)
    async with httpx.AsyncClient(limits=limits, timeout=TIMEOUT_S, trust_env=False) as client:

        async def work() -> None:
            for text, user in waiting:
                (await call(client, text, user)).raise_for_status()

        started = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(concurrency)))
        return len(batch) / (time.perf_counter() - started)
