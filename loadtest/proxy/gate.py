"""ControlGate: who may ask a control API anything, checked before a request is read any further."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.errors import ConfigError

OPEN_PATH = "/version"  # what health checks ask; it tells the version alone
LEAST_TOKEN = 16  # characters
_MOST_TOKEN = 1024


def read_token(path: Path) -> str:
    """The token in a file; raises ConfigError naming the file."""
    try:
        with path.open(encoding="ascii") as file:
            token = file.read(_MOST_TOKEN + 1).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the fault proxy's token file {path} cannot be read: {error}") from error
    if not LEAST_TOKEN <= len(token) <= _MOST_TOKEN or not token.isprintable() or " " in token:
        raise ConfigError(
            f"{path} holds no token for the fault proxy: one line of {LEAST_TOKEN} to "
            f"{_MOST_TOKEN} characters without blanks is expected"
        )
    return token


class ControlGate:
    """ASGI middleware before the control API.

    A page in somebody's browser can send requests to addresses that its own machine reaches. So
    whatever a browser sends (Origin, Sec-Fetch-*, its User-Agent) is refused, and so is every Host
    but this machine's loopback and ``names``: a page whose own name was made to point here (DNS
    rebinding) says that name.

    Args:
        token: to be shown as ``Authorization: Bearer``, except at OPEN_PATH; None asks for none.
        names: further hosts by which this API is called.
    """

    def __init__(self, app: ASGIApp, token: str | None, names: Iterable[str] = ()) -> None:
        self._app = app
        self._token = None if token is None else f"Bearer {token}".encode()
        self._names = {name.lower() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, words = self._refusal(Headers(scope=scope), scope["path"])
        if status == 0:
            await self._app(scope, receive, send)
            return
        answer = JSONResponse({"error": words, "status": status}, status)
        if status == 401:
            answer.headers["WWW-Authenticate"] = "Bearer"
        await answer(scope, receive, send)

    def _refusal(self, headers: Headers, path: str) -> tuple[int, str]:
        """HTTP status and words; status 0 lets the request pass."""
        browser = headers.get("user-agent", "").lower().startswith("mozilla/")
        if browser or "origin" in headers or any(name.startswith("sec-fetch-") for name in headers):
            return 403, "browsers are not let in; use a program"
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_own(hosts[0]):
            return 403, "unknown Host: call this API by its own address (see --name)"
        if self._token is not None and path != OPEN_PATH:
            shown = headers.get("authorization", "").encode("latin-1")
            if not hmac.compare_digest(shown, self._token):
                return 401, "show the token of --token-file as `Authorization: Bearer TOKEN`"
        return 0, ""

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or is_plain_loopback(name)


def is_plain_loopback(host: str) -> bool:
    """Whether a host written like this is the machine itself.

    A Host header must be written plainly: ``shared.addresses.is_loopback`` also reads forms that
    only resolvers know (127.1, x.localhost).
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
