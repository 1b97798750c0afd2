"""Descriptors: how many files and sockets this process may have open, and how many are spoken for.

A server that accepts until there are none left cannot open what it needs for an answer either.
"""

from __future__ import annotations

import os
import resource

ENOUGH = 65_536
MOST_CONNECTIONS = 10_000  # some 100 MB
FEWEST_CONNECTIONS = 16
ACCEPTED_AT_ONCE = 16  # connections taken in one turn of the loop, before any of them is counted


def raise_descriptor_limit() -> int:
    """Raise this process's soft limit to its hard one, ENOUGH at most; returns the limit now.

    Children inherit it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return ENOUGH if soft == resource.RLIM_INFINITY else soft


def open_descriptors() -> int:
    """Descriptors this process has open; 64 where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (names suffice)
    except OSError:
        return 64


def connections_within(limit: int, *, opened: int, reserve: int) -> int:
    """Connections that may be open at once under ``limit`` descriptors.

    Args:
        limit: of the process.
        opened: descriptors open already.
        reserve: those kept for everything else; half of the limit at most.
    """
    left = limit - opened - min(reserve, limit // 2) - 2 * ACCEPTED_AT_ONCE
    return max(FEWEST_CONNECTIONS, min(left, MOST_CONNECTIONS))
