"""Settings that are right each and wrong together: half of a pair, or two that exclude another."""

from __future__ import annotations

from collections.abc import Iterator

from cloud_service.settings import CloudSettings
from training.settings import LogSettings


def contradictions(log: LogSettings, cloud: CloudSettings) -> Iterator[str]:
    """What is wrong and what would be right, one by one."""
    if log.path is None:
        for name, value in (("log.columns", log.columns), ("log.items", log.items)):
            if value is not None:
                yield (
                    f"{name} is about a file of your own, but log.path names none: set log.path "
                    f"(--log FILE), or leave {name} out for the known log {log.name}"
                )
    if cloud.auth_keys is not None and cloud.auth_keys_file is not None:
        yield "cloud.auth_keys and cloud.auth_keys_file are both set: keep one of them"
    if cloud.port and cloud.port == cloud.admin_port and cloud.host == cloud.admin_host:
        yield (
            f"cloud.port and cloud.admin_port are both {cloud.port}: choose another admin_port, or "
            "leave it out for the next one"
        )
