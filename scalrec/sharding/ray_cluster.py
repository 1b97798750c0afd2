"""A Ray cluster: joined by its address, or started inside this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from shared.errors import ConfigError

LOCAL = "local"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A joined cluster.

    Attributes:
        ray: Ray's module; nothing else imports it, as it is an optional package.
        shards: actors to start, one CPU each.
    """

    ray: Any
    shards: int


@contextmanager
def open_cluster(address: str, shards: int | None) -> Iterator[Cluster]:
    """Join the cluster at ``address`` ("local": one in this process) and leave it at the end.

    Args:
        shards: processes that serve devices; None: as many as the cluster has CPUs.

    Raises:
        ConfigError: Ray is not installed, no cluster answers, or it has fewer CPUs than shards.
    """
    ray = _import_ray()
    if shards is not None and shards < 1:
        raise ConfigError("--shards must be 1 or more")
    quiet = {"log_to_driver": False, "configure_logging": False, "logging_level": "ERROR"}
    if address == LOCAL:
        # Nothing is told to Ray's makers, and nothing listens beside what the fleet needs.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        cpus = shards or os.cpu_count() or 1
        ray.init(address=LOCAL, num_cpus=cpus, include_dashboard=False, **quiet)
    elif address.startswith("ray://"):
        raise ConfigError(
            f"{address} is a Ray Client address; start the fleet on a node of the cluster and give "
            "the address of its head (HOST:6379), or auto"
        )
    else:
        try:
            ray.init(address=address, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            raise ConfigError(
                f"no Ray cluster can be joined at {address} ({_first_line(error)}); run "
                f"`ray start --address={address}` on this machine first, or use --ray local"
            ) from error
    try:
        cpus = int(ray.cluster_resources().get("CPU", 0))
        if cpus < (shards or 1):
            raise ConfigError(
                f"the Ray cluster has {cpus} CPUs and every shard takes one; give --shards "
                f"{max(1, cpus)} or fewer, or add nodes"
            )
        yield Cluster(ray, shards or cpus)
    finally:
        ray.shutdown()


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            f"--ray needs Ray, which is not installed ({error}): pip install 'scalrec[ray]', or in "
            "a checkout python3 scripts/bootstrap.py ray"
        ) from error
    return ray


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
