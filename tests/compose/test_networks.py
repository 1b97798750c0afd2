"""What a device's container reaches of the stack, and who may tell the fault proxies anything."""

from __future__ import annotations

import json

import pytest

from tests.support.compose import Stack

pytestmark = pytest.mark.compose

PORTS = (3000, 6379, 8000, 8080, 8081, 8090, 8474, 9090)
ALL_PORTS_OF = ("proxy-api", "dashboard")  # what stands on the devices' network
CONTROLS = ("control-api", "control-redis", "control-embedder")
# For each (name, host, ports): which of the ports take a connection. A host that is a name is
# looked up first; all at once, since an unknown one is waited for.
LOOK = """
import asyncio, json, sys
AT_ONCE = asyncio.Semaphore(200)
async def one(host, port, found):
    async with AT_ONCE:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 2)
        except OSError:
            return
    found.append(port)
    writer.close()
async def look(name, host, ports):
    found, loop = [], asyncio.get_running_loop()
    try:
        known = await asyncio.wait_for(loop.getaddrinfo(host, None), 20)
    except OSError:
        return name, host, None
    ports = range(1, 65536) if ports == "all" else ports
    await asyncio.gather(*(one(known[0][4][0], port, found) for port in ports))
    return name, host, sorted(found)
async def main():
    print(json.dumps(await asyncio.gather(*(look(*one) for one in json.loads(sys.argv[1])))))
asyncio.run(main())
"""
ASK = """
import sys, urllib.request as u
token = open("/run/secrets/proxy/token").read()
headers = {"Authorization": "Bearer " + token} if sys.argv[2:] else {}
try: print(u.urlopen(u.Request(sys.argv[1] + "/proxies", headers=headers), timeout=5).status)
except u.HTTPError as error: print(error.code)
"""


def reached(stack: Stack, service: str, wanted: list[tuple[str, str, object]]) -> set[str]:
    """Which of ``wanted`` takes connections from a service's container, as NAME:PORT."""
    output = stack("exec", "-T", service, "python", "-c", LOOK, json.dumps(wanted), timeout_s=300)
    answers = json.loads(output.strip().splitlines()[-1])
    return {f"{name}:{port}" for name, _, ports in answers for port in ports or ()}


def addresses(stack: Stack) -> list[tuple[str, str]]:
    """Each service's name with every way to call it: names, aliases, addresses on any network."""
    found = []
    for container in stack.containers():
        service = container["Config"]["Labels"]["com.docker.compose.service"]
        for network in container["NetworkSettings"]["Networks"].values():
            names = {service, *(network["Aliases"] or ()), network["IPAddress"]} - {""}
            found += [(service, name) for name in names]
    return sorted(set(found))


def test_a_device_reaches_the_api_and_the_live_view_alone(hashing_stack: Stack) -> None:
    every = [(name, host, list(PORTS)) for name, host in addresses(hashing_stack)]
    every += [(name, name, list(PORTS)) for name in ("vllm", "embedder", "prometheus", *CONTROLS)]
    assert {name for name, _, _ in every} >= {"redis", "cloud", "proxy-redis", "proxy-embedder"}
    every += [(name, name, "all") for name in ALL_PORTS_OF]

    assert reached(hashing_stack, "fleet", every) == {"proxy-api:8080", "dashboard:8090"}


def test_the_cloud_reaches_redis_and_the_embedder_through_their_proxies(
    hashing_stack: Stack,
) -> None:
    every = [(name, host, list(PORTS)) for name, host in addresses(hashing_stack)]
    ways = {"proxy-redis:6379", "proxy-embedder:8000"}
    found = reached(hashing_stack, "cloud", every)
    assert found - {"cloud:8080", "cloud:8081", "proxy-api:8080"} == ways


def test_only_a_load_test_with_the_token_may_tell_the_proxies_anything(
    hashing_stack: Stack,
) -> None:
    def asked(*shown: str) -> list[str]:
        one = f"python -c '{ASK}' http://$host:8474 {' '.join(shown)}"
        script = f"for host in {' '.join(CONTROLS)}; do {one}; done"
        return hashing_stack(
            "run", "--rm", "-T", "--entrypoint", "sh", "loadtest", "-c", script, timeout_s=300
        ).split()[-3:]

    assert asked() == ["401"] * 3
    assert asked("token") == ["200"] * 3
    secrets = hashing_stack("exec", "-T", "fleet", "sh", "-c", "ls -R /run/secrets")
    assert "token" not in secrets
