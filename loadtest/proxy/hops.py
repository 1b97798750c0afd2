"""FaultProxies: several fault proxies, one for each hop, spoken to as if they were one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Self

from loadtest.proxy.client import FaultProxy
from loadtest.proxy.toxics import ProxySpec, Toxic
from shared.errors import ConfigError


class FaultProxies:
    """Clients of several control APIs; an async context manager that closes them.

    A call goes to whichever holds the proxy it names; ``proxies`` has to be called first.

    Args:
        controls: at least one; no name of a proxy may be at two of them.

    Every method raises ConfigError if an API does not answer or refuses, with its words.
    """

    def __init__(self, controls: Sequence[FaultProxy]) -> None:
        self._controls = tuple(controls)
        self._held_by: dict[str, FaultProxy] = {}

    async def proxies(self) -> dict[str, ProxySpec]:
        """All proxies by name. Raises ConfigError if two of the APIs have one of the same name."""
        found = await asyncio.gather(*(control.proxies() for control in self._controls))
        held_by: dict[str, FaultProxy] = {}
        specs: dict[str, ProxySpec] = {}
        for control, its in zip(self._controls, found, strict=True):
            for name, spec in its.items():
                if name in held_by:
                    raise ConfigError(
                        f"a proxy {name!r} is at {held_by[name].url} and at {control.url}: faults "
                        "go by that name, so give it to one of them alone"
                    )
                held_by[name], specs[name] = control, spec
        self._held_by = held_by
        return specs

    async def enable(self, name: str, enabled: bool) -> None:
        """Open a proxy, or close it and cut its connections."""
        await self._control(name).enable(name, enabled)

    async def add(self, proxy: str, toxic: Toxic) -> None:
        await self._control(proxy).add(proxy, toxic)

    async def remove(self, proxy: str, toxic: str) -> None:
        await self._control(proxy).remove(proxy, toxic)

    async def reset(self) -> None:
        """Open every proxy and remove every toxic."""
        await asyncio.gather(*(control.reset() for control in self._controls))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        for control in self._controls:
            await control.aclose()

    def _control(self, name: str) -> FaultProxy:
        try:
            return self._held_by[name]
        except KeyError:
            known = ", ".join(sorted(self._held_by)) or "none"
            raise ConfigError(f"no fault proxy has a proxy {name!r}; there are: {known}") from None
