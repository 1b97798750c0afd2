"""Greeting a cloud before a run: is it there, is it the one that was meant, does it let us in."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

from device_runtime.cloud.transport import HttpTransport, TransportError, TransportResponse
from scalrec.folders import find_bundle
from scalrec.settings import Settings
from scalrec.stack.asking import NO_HEADERS, ask, words_of
from scalrec.stack.cloud_keys import token_source
from shared.addresses import masked_address
from shared.errors import ConfigError
from shared.words import as_said

GREETING_TIMEOUT_S = 5.0
_ID_CHARS = 64
_NOBODY = "scalrec-greeting"  # no user of any log


async def served_bundle(url: str) -> str:
    """Id of the bundle that the cloud at ``url`` serves.

    Raises:
        CloudSilent: nobody answers there, or nobody that speaks our API.
        ConfigError: the address is none.
    """
    try:
        answer = await _get(url, "/v1/bundle")
        if answer.status != 200:
            raise ValueError(f"status {answer.status}")
        return as_said(json.loads(answer.content)["bundle_id"], _ID_CHARS)
    except (TransportError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise CloudSilent(
            f"no cloud answers at {masked_address(url)} ({words_of(error)})"
        ) from error


async def _get(url: str, path: str, headers: Mapping[str, str] = NO_HEADERS) -> TransportResponse:
    transport = HttpTransport(url)
    try:
        return await ask(transport, path, GREETING_TIMEOUT_S, headers)
    finally:
        await transport.aclose()


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
    served, shown = await served_bundle(url), masked_address(url)
    if served != bundle_id:
        raise ConfigError(
            f"the cloud at {shown} serves bundle {served}, the devices hold {bundle_id}: name the "
            "same bundle on both sides with --bundle"
        )
    tokens = token_source(settings, time.time)
    token = {} if tokens is None else {"Authorization": f"Bearer {await tokens.token(_NOBODY)}"}
    try:
        answer = await _get(url, f"/v1/users/{_NOBODY}/snapshot", token)
    except TransportError as error:
        raise CloudSilent(f"the cloud at {shown} stopped answering ({error})") from error
    if answer.status in (401, 403):
        raise ConfigError(
            f"the cloud at {shown} does not accept {_key(settings)} (it answers "
            f"{answer.status}): set cloud.auth_keys_file to the key file of that cloud"
        )


def _key(settings: Settings) -> str:
    cloud = settings.cloud
    if cloud.auth == "off":
        return "callers without a token, and cloud.auth=off makes none"
    if cloud.auth_keys_file is not None:
        return f"tokens made with the key in {cloud.auth_keys_file}"
    return "tokens made with cloud.auth_keys"
