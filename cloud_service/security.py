"""Gate: who comes in. Token, then user, then rate; before a byte of the body is read."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog
from fastapi import Request, Response
from fastapi.routing import APIRoute

from cloud_service.limits import DeviceRates
from cloud_service.problems import ProblemError
from cloud_service.pseudonyms import Pseudonyms
from shared.errors import ConfigError, TokenRefused
from shared.schemas import ProblemType
from shared.settings import CloudSettings
from shared.tokens import KeyRing, load_keys, verify_token

LEEWAY_S = 5.0  # for clocks that disagree
ANY_DEVICE = "-"  # callers that show no token cannot be told apart by device
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: proven by a token, or merely said where tokens are off."""

    user: str
    device: str


def required_keys(cloud: CloudSettings) -> KeyRing | None:
    """The keys tokens are checked with; None where ``cloud.auth`` is off.

    Raises ConfigError when tokens are required and there is no key: a service must not start open.
    """
    if cloud.auth == "off":
        return None
    ring = load_keys(cloud)
    if ring is None:
        raise ConfigError(
            "cloud.auth is required but there is no key to check tokens with: run "
            "`scalrec token keygen > auth.keys` and set cloud.auth_keys_file=auth.keys on the "
            "cloud and wherever tokens are issued; or set cloud.auth=off if nobody else can "
            "reach this service"
        )
    return ring


class Gate:
    """Admits a request about one user, or refuses it.

    Args:
        ring: of accepted keys; None lets every caller be whom the path names.
        rates: requests per device.
        pseudonyms: users as logs name them.
        now: Unix seconds.
    """

    def __init__(
        self,
        ring: KeyRing | None,
        rates: DeviceRates,
        pseudonyms: Pseudonyms,
        now: Callable[[], float],
    ):
        self._ring = ring
        self._rates = rates
        self._pseudonyms = pseudonyms
        self._now = now

    def admit(self, request: Request) -> Caller:
        """The caller, also kept in the request's state for the audit log.

        Raises:
            ProblemError: 401 without a valid token, 403 with a token of another user.
            RateLimited: the device asks too often.
        """
        user = str(request.path_params["user"])
        state = request.scope.setdefault("state", {})
        state["asked_for"] = self._pseudonyms.of(user)
        caller = self._identify(request.headers.get("authorization"), user)
        state["user"], state["device"] = self._pseudonyms.of(caller.user), caller.device
        if caller.user != user:
            raise ProblemError(
                ProblemType.FORBIDDEN, "the token is of another user than the path names"
            )
        self._rates.take((caller.user, caller.device))
        return caller

    def route_class(self) -> type[APIRoute]:
        """Routes that admit before they read: FastAPI parses the body before any dependency."""
        gate = self

        class GatedRoute(APIRoute):
            def get_route_handler(self) -> Handler:
                handler = super().get_route_handler()

                async def gated(request: Request) -> Response:
                    gate.admit(request)
                    if self.body_field is not None:
                        _require_json(request)
                    user = request.scope["state"]["user"]
                    with structlog.contextvars.bound_contextvars(user=user):
                        return await handler(request)

                return gated

        return GatedRoute

    def _identify(self, authorization: str | None, user: str) -> Caller:
        if self._ring is None:
            return Caller(user, ANY_DEVICE)
        scheme, _, token = (authorization or "").partition(" ")
        try:
            if scheme.lower() != "bearer" or not token.strip():
                raise TokenRefused("missing", "send the user's token: Authorization: Bearer TOKEN")
            now = self._now()
            claims = verify_token(token.strip(), self._ring, now=now, leeway_s=LEEWAY_S)
        except TokenRefused as refusal:
            # RFC 6750: no error code for a request that shows no token at all.
            error = "" if refusal.reason == "missing" else ', error="invalid_token"'
            raise ProblemError(
                ProblemType.UNAUTHENTICATED,
                str(refusal),
                headers={"WWW-Authenticate": f'Bearer realm="scalrec"{error}'},
                audit=refusal.reason,
            ) from refusal
        return Caller(claims.user, claims.device)


def _require_json(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ProblemError(
            ProblemType.UNSUPPORTED_MEDIA_TYPE, "the body must be sent as application/json"
        )
