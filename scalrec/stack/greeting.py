"""Greeting a cloud before a run: is it there, is it the one that was meant, does it let us in."""

from __future__ import annotations

import time
from pathlib import Path

import httpx2 as httpx

from scalrec.folders import find_bundle
from scalrec.settings import Settings
from scalrec.stack.cloud_keys import token_source
from shared.errors import ConfigError

GREETING_TIMEOUT_S = 5.0
_NOBODY = "scalrec-greeting"  # no user of any log


async def served_bundle(url: str) -> str:
    """Id of the bundle that the cloud at ``url`` serves.

    Raises:
        CloudSilent: nobody answers there, or nobody that speaks our API.
    """
    try:
        async with httpx.AsyncClient(timeout=GREETING_TIMEOUT_S, trust_env=False) as client:
            answer = (await client.get(f"{url}/v1/bundle")).raise_for_status()
            return str(answer.json()["bundle_id"])
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        raise CloudSilent(f"no cloud answers at {url} ({error or type(error).__name__})") from error


async def bundle_for_devices(settings: Settings, url: str) -> Path:
    """The bundle of these settings; of several, the one that the cloud at ``url`` serves."""
    try:
        served = await served_bundle(url)
    except CloudSilent:
        served = None
    return find_bundle(settings, served)


class CloudSilent(ConfigError):
    """No cloud answers at the address."""


async def greet(settings: Settings, url: str, bundle_id: str) -> None:
    """Refuse a cloud of another bundle, and one that does not accept the fleet's tokens.

    Raises:
        CloudSilent: no cloud answers; one that is away may come back.
        ConfigError: it serves another bundle, or refuses the key.
    """
    served = await served_bundle(url)
    if served != bundle_id:
        raise ConfigError(
            f"the cloud at {url} serves bundle {served}, the devices hold {bundle_id}: name the "
            "same bundle on both sides with --bundle"
        )
    tokens = token_source(settings, time.time)
    shown = {} if tokens is None else {"Authorization": f"Bearer {await tokens.token(_NOBODY)}"}
    path = f"{url}/v1/users/{_NOBODY}/snapshot"
    try:
        async with httpx.AsyncClient(timeout=GREETING_TIMEOUT_S, trust_env=False) as client:
            answer = await client.get(path, headers=shown)
    except httpx.HTTPError as error:
        raise CloudSilent(f"the cloud at {url} stopped answering ({error!r})") from error
    if answer.status_code in (401, 403):
        raise ConfigError(
            f"the cloud at {url} does not accept {_key(settings)} (it answers "
            f"{answer.status_code}): set cloud.auth_keys_file to the key file of that cloud"
        )


def _key(settings: Settings) -> str:
    cloud = settings.cloud
    if cloud.auth == "off":
        return "callers without a token, and cloud.auth=off makes none"
    if cloud.auth_keys_file is not None:
        return f"tokens made with the key in {cloud.auth_keys_file}"
    return "tokens made with cloud.auth_keys"
