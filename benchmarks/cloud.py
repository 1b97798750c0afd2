"""POST snapshot through the service against the raw embedding server, at equal concurrency."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterable, Sequence

from benchmarks.http_load import http_request, requests_per_second
from benchmarks.timing import BenchmarkLine, alternating
from cloud_service.embedding.base import model_name
from scalrec.settings import Settings
from scalrec.stack.cloud_keys import token_source
from scalrec.stack.cloud_stack import RunningCloud
from scalrec.stack.embedder_server import ServedEmbedder
from shared.snapshot import MEDIA_TYPE

ROUNDS = 8
REQUESTS = 64


async def compare_cloud(
    cloud: RunningCloud, served: ServedEmbedder, abstracts: Sequence[str], *, concurrency: int = 8
) -> list[BenchmarkLine]:
    """Requests per second of both, in alternating rounds over abstracts nobody has sent before.

    Args:
        abstracts: at least 2 x (ROUNDS + 1) x REQUESTS distinct texts.
    """
    texts, users = iter(abstracts), (f"bench-{n}" for n in itertools.count())
    raw_url = str(served.settings.url)

    async def through_service() -> float:
        names = list(itertools.islice(users, REQUESTS))
        headers = await device_headers(cloud.settings, names)
        requests = [
            http_request(
                "POST",
                f"{cloud.url}/v1/users/{name}/snapshot",
                headers[name],
                json.dumps({"abstract": text, "step": 1}).encode(),
            )
            for name, text in zip(names, texts, strict=False)
        ]
        return await requests_per_second(cloud.url, requests, concurrency)

    async def raw() -> float:
        body = {"model": model_name(served.settings.model), "encoding_format": "base64"}
        requests = [
            http_request(
                "POST",
                f"{raw_url}/v1/embeddings",
                _authorization(served),
                json.dumps(body | {"input": [text]}).encode(),
            )
            for text in itertools.islice(texts, REQUESTS)
        ]
        return await requests_per_second(raw_url, requests, concurrency)

    name = f"POST snapshot / raw embedding server, {concurrency} at once"
    return [await alternating(name, through_service, raw, rounds=ROUNDS)]


async def device_headers(
    settings: Settings, users: Iterable[str], now: Callable[[], float] = time.time
) -> dict[str, dict[str, str]]:
    """User -> headers that a device of theirs sends: the blob wanted, and a token of its own."""
    tokens = token_source(settings, now)
    headers = {}
    for user in users:
        headers[user] = {"Accept": MEDIA_TYPE}
        if tokens is not None:
            headers[user]["Authorization"] = f"Bearer {await tokens.token(user)}"
    return headers


def _authorization(served: ServedEmbedder) -> dict[str, str]:
    key = served.settings.api_key
    return {} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"}
