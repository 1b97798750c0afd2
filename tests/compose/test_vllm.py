"""The stack with the real embedding server in its container."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import httpx2 as httpx
import pytest

from tests.compose.conftest import BUILD_S
from tests.support.compose import Stack

pytestmark = [pytest.mark.compose, pytest.mark.model]


@pytest.fixture(scope="module")
def vllm_stack(engine: None, env: dict[str, str]) -> Iterator[Stack]:
    stack = Stack(f"scalrec-test-vllm-{os.getpid()}", env)
    try:
        stack("up", "--build", "--wait", "cloud", timeout_s=BUILD_S)
        yield stack
    finally:
        stack.remove()


def test_a_device_gets_a_snapshot_that_vllm_embedded(
    vllm_stack: Stack, ports: dict[str, int]
) -> None:
    [server] = vllm_stack.containers("vllm")
    assert server["State"]["Health"]["Status"] == "healthy"
    assert server["HostConfig"]["ReadonlyRootfs"]
    assert server["HostConfig"]["CapDrop"] == ["ALL"]
    token = vllm_stack(
        "exec", "-T", "cloud", "sh", "/usr/local/lib/scalrec/with-secrets.sh",
        "python", "-m", "scalrec", "token", "issue", "reader1",
    ).strip()  # fmt: skip

    with httpx.Client(
        base_url=f"http://127.0.0.1:{ports['api']}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=20,
        trust_env=False,
    ) as api:
        bundle = api.get("/v1/bundle").json()
        answer = api.post(
            "/v1/users/reader1/snapshot", json={"abstract": "Reads crime at night.", "step": 3}
        )
        cached = api.get("/v1/users/reader1/snapshot")
        foreign = api.get("/v1/users/reader2/snapshot")

    manifest = vllm_stack("exec", "-T", "cloud", "sh", "-c", "cat /work/bundles/*/manifest.json")
    assert json.loads(manifest)["embedder"]["backend"] == "vllm"
    assert bundle["embedder"] == "minilm"
    assert answer.status_code == 200, answer.text
    assert answer.json()["items"]
    assert cached.status_code == 200
    assert foreign.status_code == 403


def test_the_embedding_server_wants_its_key(vllm_stack: Stack) -> None:
    ask = (
        "import json, urllib.request as u\n"
        "body = json.dumps({'model': 'minilm', 'input': 'x'}).encode()\n"
        "kind = {'Content-Type': 'application/json'}\n"
        "r = u.Request('http://127.0.0.1:8000/v1/embeddings', body, kind)\n"
        "try: print(u.urlopen(r).status)\n"
        "except u.HTTPError as error: print(error.code)"
    )
    assert vllm_stack("exec", "-T", "vllm", "python", "-c", ask).strip() == "401"
