"""What a device's container reaches of the stack, and who may tell the fault proxies anything."""

from __future__ import annotations

import ipaddress
import json

import pytest

from tests.support.compose import Stack

pytestmark = pytest.mark.compose

PORTS = (3000, 6379, 8000, 8080, 8081, 8090, 8474, 9090)
CONTROLS = ("control-api", "control-redis", "control-embedder")
# For each (name, host, ports): which of the ports take a connection. A host that is a name is
# looked up first; all at once, since an unknown one is waited for.
LOOK = """
import asyncio, concurrent.futures, json, socket, sys
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
        known = await asyncio.wait_for(loop.getaddrinfo(host, None), 120)
    except socket.gaierror:  # a lookup that hangs is no answer and fails
        return name, host, None
    await asyncio.gather(*(one(known[0][4][0], port, found) for port in ports))
    return name, host, sorted(found)
async def main():
    wanted = json.loads(sys.argv[1])
    lookups = concurrent.futures.ThreadPoolExecutor(len(wanted))
    asyncio.get_running_loop().set_default_executor(lookups)
    print(json.dumps(await asyncio.gather(*(look(*one) for one in wanted))))
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

    assert reached(hashing_stack, "fleet", every) == {"proxy-api:8080", "dashboard:8090"}


def listening(stack: Stack, service: str) -> set[tuple[str, int]]:
    """Addresses and ports on which a container takes connections of others."""
    table = stack("exec", "-T", service, "cat", "/proc/net/tcp", "/proc/net/tcp6")
    found = set()
    for line in table.splitlines():
        fields = line.split()
        if len(fields) > 3 and fields[3] == "0A":  # LISTEN
            address, _, port = fields[1].partition(":")
            words = [bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8)]
            found.add((str(ipaddress.ip_address(b"".join(words))), int(port, 16)))
    return {(host, port) for host, port in found if not ipaddress.ip_address(host).is_loopback}


def test_proxies_listen_to_their_callers_and_their_controls_on_their_own_network(
    hashing_stack: Stack,
) -> None:
    assert listening(hashing_stack, "dashboard") == {("0.0.0.0", 8090)}
    ways = {"api": ("", 8080), "redis": ("core", 6379), "embedder": ("core", 8000)}
    for hop, (network, port) in ways.items():
        [container] = hashing_stack.containers(f"proxy-{hop}")
        networks = container["NetworkSettings"]["Networks"]
        at = {name.rpartition("_")[2]: joined["IPAddress"] for name, joined in networks.items()}
        way = (at[network] if network else "0.0.0.0", port)
        assert listening(hashing_stack, f"proxy-{hop}") == {way, (at["control"], 8474)}


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
