"""Loopback ports for the programs we start."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Collection

import psutil

from shared.errors import LaunchError

LOOPBACK = "127.0.0.1"
# Below the range (32768 and up) from which Linux gives ports to outgoing connections: a port that
# was free stays free until the program, which may take a minute to get there, binds it.
_RANGE = (20_000, 32_000)
_ATTEMPTS = 200


class PortTaken(LaunchError):
    """The port a program should listen on is in use; names the port and, if known, by whom."""


def free_port(host: str = LOOPBACK, *, promised: Collection[int] = ()) -> int:
    """A port on which nothing listens now, and none of those ``promised`` to other programs."""
    for _ in range(_ATTEMPTS):
        port = random.randrange(*_RANGE)
        if port not in promised and _bind_error(host, port) is None:
            return port
    raise LaunchError(f"no free port on {host} among {_ATTEMPTS} tried in {_RANGE}")


def claim_port(port: int | None, host: str = LOOPBACK, *, promised: Collection[int] = ()) -> int:
    """``port`` if it is free, or any free one if it is None or 0, but none of those ``promised`` to
    other programs, which may not listen yet.

    Raises:
        PortTaken: something listens there already.
        LaunchError: the address cannot be used (privileged port, unknown host).
    """
    if not port:
        return free_port(host, promised=promised)
    error = _bind_error(host, port)
    if error is None:
        return port
    if error.errno == errno.EADDRINUSE:
        owner = listener(port)
        by = f" by {owner}" if owner else ""
        raise PortTaken(
            f"port {port} on {host} is already in use{by}; stop that program or choose another "
            "port (0 picks a free one)"
        )
    raise LaunchError(f"cannot listen on {host} port {port}: {error.strerror}")


def listener(port: int) -> str | None:
    """``name (process id)`` of the program listening on a TCP port, if the system tells us."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            address = connection.laddr
            if connection.status == psutil.CONN_LISTEN and address and address.port == port:
                if connection.pid is None:
                    return None
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except (psutil.Error, OSError):
        return None
    return None


def _bind_error(host: str, port: int) -> OSError | None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: connections of a predecessor that linger in TIME_WAIT do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None
