"""FaultProxy: the control calls of Toxiproxy, whether its own server answers or ours."""

from __future__ import annotations

from typing import Any, Self

import httpx2 as httpx
from pydantic import ValidationError

from loadtest.proxy.toxics import ProxySpec, Toxic
from shared.addresses import has_http_form, masked_address
from shared.errors import ConfigError

TIMEOUT_S = 5.0


class FaultProxy:
    """Client of one control API; an async context manager.

    Args:
        url: e.g. http://127.0.0.1:8474.
        token: of the API (see its --token-file); None where it asks for none, as Toxiproxy does.

    Every method, and this, raises ConfigError if the API does not answer or refuses, with its
    words.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        shown = {} if token is None else {"Authorization": f"Bearer {token}"}
        try:
            if not has_http_form(url):
                raise httpx.InvalidURL(url)
            self._client = httpx.AsyncClient(
                base_url=url, timeout=TIMEOUT_S, trust_env=False, headers=shown
            )
        except httpx.InvalidURL:
            raise ConfigError(f"{masked_address(url)!r} is no address of a fault proxy") from None

    async def version(self) -> str:
        """Version of the API; also tells whether it is there."""
        return str(self._object(await self._call("GET", "/version"), "version")["version"])

    async def proxies(self) -> dict[str, ProxySpec]:
        """All proxies by name."""
        found = self._object(await self._call("GET", "/proxies"))
        return {name: self._spec(spec) for name, spec in found.items()}

    async def create(self, name: str, *, upstream: str, listen: str) -> ProxySpec:
        """Open a proxy; port 0 of ``listen`` picks a free one, which the answer names."""
        body = {"name": name, "listen": listen, "upstream": upstream, "enabled": True}
        return self._spec(await self._call("POST", "/proxies", body))

    async def lead(self, name: str, upstream: str) -> None:
        """Cut a proxy's connections and lead new ones to another address."""
        await self._call("POST", f"/proxies/{name}", {"upstream": upstream})

    async def enable(self, name: str, enabled: bool) -> None:
        """Open a proxy, or close it and cut its connections."""
        await self._call("POST", f"/proxies/{name}", {"enabled": enabled})

    async def add(self, proxy: str, toxic: Toxic) -> None:
        await self._call("POST", f"/proxies/{proxy}/toxics", toxic.model_dump())

    async def remove(self, proxy: str, toxic: str) -> None:
        await self._call("DELETE", f"/proxies/{proxy}/toxics/{toxic}")

    async def reset(self) -> None:
        """Open every proxy and remove every toxic."""
        await self._call("POST", "/reset")

    async def aclose(self) -> None:
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            answer = await self._client.request(method, path, json=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ConfigError(
                f"no fault proxy answers at {masked_address(self.url)} "
                f"({type(error).__name__}: {error}); start one with "
                "`python -m loadtest.proxy`, or correct its address"
            ) from error
        if answer.is_error:
            if answer.status_code == 401:
                raise ConfigError(
                    f"the fault proxy at {masked_address(self.url)} asks for its token: name the "
                    "file that its --token-file names (`scalrec loadtest run --fault-proxy-token`)"
                )
            raise ConfigError(
                f"the fault proxy at {masked_address(self.url)} refused {method} {path}: "
                f"{answer.status_code} {answer.content[:200].decode(errors='replace')}"
            )
        try:
            return answer.json() if answer.content else None
        except (ValueError, RecursionError):
            raise self._another() from None

    def _object(self, answer: Any, *members: str) -> dict[str, Any]:
        if not isinstance(answer, dict) or not answer.keys() >= set(members):
            raise self._another()
        return answer

    def _spec(self, answer: Any) -> ProxySpec:
        try:
            return ProxySpec.model_validate(answer)
        except ValidationError:
            raise self._another() from None

    def _another(self) -> ConfigError:
        return ConfigError(
            f"what answers at {masked_address(self.url)} is no fault proxy; correct the address "
            "of its control API (`scalrec loadtest run --fault-proxy`)"
        )
