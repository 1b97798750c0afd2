"""GET of a cached snapshot against a bare FastAPI route that does one Redis GET."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from pydantic import SecretStr

from benchmarks.cloud import device_headers
from benchmarks.http_load import Unanswered, http_request, requests_per_second
from benchmarks.timing import BenchmarkLine, alternating
from launch.ports import LOOPBACK, claim_port
from launch.process import ChildProcess
from scalrec.stack.cloud_stack import READY_TIMEOUT_S, RunningCloud

USERS = 64
ROUNDS = 15
REQUESTS = 512


async def compare_cached(
    cloud: RunningCloud, bundle_id: str, *, logs: Path, concurrency: int = 8, rounds: int = ROUNDS
) -> list[BenchmarkLine]:
    """Requests per second of both, in alternating rounds of the same requests, byte for byte.

    Both run under the same server with the same options, read the same keys of the same Redis and
    answer the same blobs. Ours checks token, rate and blob, and counts; the other does not.

    Args:
        cloud: running, with a Redis of its own or of its settings.
        logs: folder for the log of the other.
    """
    headers = await device_headers(cloud.settings, (f"cached-{n}" for n in range(USERS)))
    body = json.dumps({"abstract": "Watches drama.", "step": 1}).encode()
    paths = {user: f"/v1/users/{user}/snapshot" for user in headers}
    fill = [http_request("POST", cloud.url + paths[u], headers[u], body) for u in headers]
    await requests_per_second(cloud.url, fill, concurrency)
    url = f"http://{LOOPBACK}:{claim_port(0, LOOPBACK)}"
    bare = ChildProcess(
        "bare route",
        [sys.executable, "-m", "benchmarks.bare_route", url.rpartition(":")[2], bundle_id],
        log=logs / "bare_route.log",
        env=os.environ | {"REDIS_URL": _redis_url(cloud).get_secret_value()},
    )
    one = http_request("GET", cloud.url + paths["cached-0"], headers["cached-0"])

    async def answers() -> str | None:
        try:
            await requests_per_second(url, [one], 1)
        except (OSError, Unanswered) as error:
            return str(error)
        return None

    requests = [http_request("GET", cloud.url + paths[u], headers[u]) for u in headers]
    requests *= REQUESTS // USERS
    try:
        bare.start()
        await bare.wait_ready(answers, READY_TIMEOUT_S)
        return [
            await alternating(
                f"GET snapshot / bare route with one Redis GET, {concurrency} at once",
                lambda: requests_per_second(cloud.url, requests, concurrency),
                lambda: requests_per_second(url, requests, concurrency),
                rounds=rounds,
            )
        ]
    finally:
        await bare.stop()


def _redis_url(cloud: RunningCloud) -> SecretStr:
    url = cloud.settings.cloud.redis_url if cloud.redis is None else cloud.redis.url
    if url is None:
        raise ValueError("a running cloud has a Redis")
    return url
