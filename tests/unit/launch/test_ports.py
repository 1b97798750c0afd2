from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from launch import ports
from launch.ports import LOOPBACK, PortTaken, claim_port, free_port
from shared.errors import LaunchError


def test_free_port_can_be_bound_and_is_not_ephemeral() -> None:
    found = {free_port() for _ in range(20)}
    assert len(found) > 1
    ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(found) < ephemeral
    with socket.create_server((LOOPBACK, found.pop())):
        pass


def test_what_is_promised_to_another_is_not_given_away(monkeypatch: pytest.MonkeyPatch) -> None:
    promised = free_port()
    monkeypatch.setattr(ports, "_RANGE", (promised, promised + 40))
    given = {claim_port(0, promised=[promised]) for _ in range(400)}
    assert promised not in given
    assert given <= set(range(promised + 1, promised + 40))


def test_taken_port_is_named_with_its_program() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"port {port} .*\(process {os.getpid()}\)"):
            claim_port(port)
    assert claim_port(port) == port


def test_lingering_connections_do_not_count_as_taken() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection((LOOPBACK, port)):
            accepted, _ = server.accept()
            accepted.close()  # the side that closes first keeps the port in TIME_WAIT
    assert claim_port(port) == port


@pytest.mark.parametrize("port", [None, 0])
def test_unset_port_gets_a_free_one(port: int | None) -> None:
    assert claim_port(port) > 1024


def test_foreign_address_is_not_called_taken() -> None:
    with pytest.raises(LaunchError, match=r"cannot listen on 192\.0\.2\.77 port 4711"):
        claim_port(4711, host="192.0.2.77")
