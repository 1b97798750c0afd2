"""Keys and tokens of a run: made for its time only where nobody has set any."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from cloud_service.keys import load_keys
from device_runtime.cloud.tokens import CarriedTokens, TokenSource
from device_runtime.cloud.transport import cloud_url
from scalrec.settings import Settings
from shared.addresses import is_loopback
from shared.errors import ConfigError
from shared.tokens import TOKEN_TTL_S, TokenIssuer, new_key


def with_keys(settings: Settings) -> Settings:
    """Settings that hold keys: a fresh one if tokens are required and no key is set."""
    cloud = settings.cloud
    if cloud.auth == "off" or load_keys(cloud) is not None:
        return settings
    keyed = cloud.model_copy(update={"auth_keys": SecretStr(new_key("ephemeral"))})
    return settings.model_copy(update={"cloud": keyed})


def with_keys_on_loopback(settings: Settings) -> Settings:
    """As ``with_keys``, but a service that others can reach must be given its keys."""
    return with_keys(settings) if is_loopback(settings.cloud.host) else settings


def token_source(settings: Settings, now: Callable[[], float]) -> TokenSource | None:
    """Tokens for the devices of a fleet, made from the key it shares with the cloud.

    Args:
        now: Unix seconds of the replay.

    Returns None where the cloud asks for no tokens. Raises ConfigError if it does and there is no
    key to make them with.
    """
    if settings.cloud.auth == "off":
        return None
    ring = load_keys(settings.cloud)
    if ring is None:
        raise ConfigError(
            "the cloud asks for tokens and there is no key to make the fleet's with: set "
            "cloud.auth_keys_file to the cloud's own, or cloud.auth=off if it asks for none"
        )
    issuer = TokenIssuer(ring, TOKEN_TTL_S, now)

    async def issue(user: str) -> str:
        return issuer.issue(user)

    return CarriedTokens(issue)


@contextmanager
def shared_on_this_machine(settings: Settings, port: int) -> Iterator[None]:
    """While the block runs, let this user's other commands find the keys of the cloud at ``port``.

    Only keys that were made for this run: a file in the user's cache that nobody else may read.
    The file is locked as long as this process lives, so that one which a killed process left
    behind can be told from one that is in use.
    """
    keys = settings.cloud.auth_keys
    if keys is None or not keys.get_secret_value().startswith("ephemeral:"):
        yield
        return
    path = _local_keys(settings, port)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(keys.get_secret_value() + "\n")
        file.flush()
        partial.replace(path)  # locked before anybody can find it
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def with_local_keys(settings: Settings, url: str) -> Settings:
    """Settings with the keys of a `scalrec serve` of this user on this machine, if ``url`` is one.

    Keys that are set stay.

    Raises ConfigError for a key file whose `scalrec serve` is no longer there; it is removed.
    """
    cloud = settings.cloud
    address = cloud_url(url)
    if cloud.auth == "off" or load_keys(cloud) is not None or not is_loopback(address.host):
        return settings
    path = _local_keys(settings, address.port or 80)
    if not path.is_file():
        return settings
    if not _in_use(path):
        path.unlink(missing_ok=True)
        raise ConfigError(
            f"{path} was left behind by a `scalrec serve` that has ended without removing it, so "
            f"its key is not that of whatever answers at {url}; the file is removed now. Start "
            "`scalrec serve` again, or set cloud.auth_keys_file to the key file of that cloud"
        )
    found = cloud.model_copy(update={"auth_keys_file": path})
    return settings.model_copy(update={"cloud": found})


def _in_use(path: Path) -> bool:
    """Whether the process that wrote the key file still holds it."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # somebody holds it, or it is gone: then it is not found either
        return True
    return False


def _local_keys(settings: Settings, port: int) -> Path:
    return settings.cache / "serve" / f"{port}.keys"
