"""What a proxy can do: those of Toxiproxy's toxics that faults are made of, and some to requests.

The names, units and meanings are those of Toxiproxy 2 (https://github.com/Shopify/toxiproxy), so
that its own server takes every definition made here but those that begin with ``http_``: it does
not know where one request ends and the next begins.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Stream = Literal["upstream", "downstream"]
ToxicType = Literal[
    "latency", "bandwidth", "timeout", "reset_peer", "http_fail", "http_delay", "http_hang"
]

# Attributes of each type and their defaults, as Toxiproxy has them.
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "latency": ("latency", "jitter"),  # ms
    "bandwidth": ("rate",),  # KB/s; 0 lets nothing pass
    "timeout": ("timeout",),  # data is dropped; ms until the connection is closed, 0: never
    "reset_peer": ("timeout",),  # ms from the first data until a TCP reset
    # posts, of all three: 1 leaves alone what is no POST, health checks among it.
    "http_fail": ("status", "posts"),  # of the answer, 400 to 599; 0: a TCP reset
    "http_delay": ("latency", "jitter", "posts"),  # ms before the request goes on
    "http_hang": ("posts",),  # no answer; its removal closes the connection
}
MAX_VALUE = 1 << 40
MAX_TOXICS = 32  # of one proxy
MAX_PORT = 65_535


class Toxic(BaseModel):
    """One toxic of one direction.

    Attributes:
        name: unique within its proxy; ``<type>_<stream>`` if none is given.
        type: see ATTRIBUTES.
        stream: ``downstream`` acts on answers, ``upstream`` on requests (always of ``http_`` ones).
        toxicity: share of connections it acts on, drawn once per connection; for the ``http_``
            ones share of HTTP/1.1 requests, drawn for each.
        attributes: non-negative integers; those left out are 0.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(default="", max_length=100)
    type: ToxicType
    stream: Stream = "downstream"
    toxicity: float = Field(default=1.0, ge=0.0, le=1.0)
    attributes: dict[str, int] = {}

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: object) -> object:
        if isinstance(data, dict):
            kind = str(data.get("type"))
            usual = "upstream" if kind.startswith("http_") else "downstream"
            stream = data.get("stream") or usual
            return {**data, "name": data.get("name") or f"{kind}_{stream}", "stream": stream}
        return data

    @model_validator(mode="after")
    def _known_attributes(self) -> Self:
        known = ATTRIBUTES[self.type]
        for name, value in self.attributes.items():
            if name not in known:
                raise ValueError(f"{self.type} has no attribute {name!r}, only {', '.join(known)}")
            if not 0 <= value <= MAX_VALUE:
                raise ValueError(f"{self.type}.{name} must be 0 or more, not {value}")
        if self.per_request and self.stream != "upstream":
            raise ValueError(f"{self.type} acts on requests: its stream is upstream")
        status = self.value("status")
        if status and not 400 <= status <= 599:
            raise ValueError(f"{self.type}.status must be 0 or 400 to 599, not {status}")
        return self

    @property
    def per_request(self) -> bool:
        """Whether its share is one of requests."""
        return self.type.startswith("http_")

    def value(self, attribute: str) -> int:
        """An attribute's value, 0 if it was not given."""
        return self.attributes.get(attribute, 0)


class ProxySpec(BaseModel):
    """A proxy as the control API shows it and takes it.

    Attributes:
        listen: ``host:port`` to accept on; port 0 picks a free one.
        upstream: ``host:port`` to connect to, looked up anew for every connection.
        enabled: whether it accepts; disabling also cuts what is open.
    """

    model_config = ConfigDict(extra="ignore")

    name: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9._-]+$")
    listen: str = Field(pattern=r"^[^:/\s]*:\d{1,5}$")
    upstream: str = Field(pattern=r"^[^:/\s]+:\d{1,5}$")
    enabled: bool = True
    toxics: tuple[Toxic, ...] = Field(default=(), max_length=MAX_TOXICS)

    @field_validator("listen", "upstream")
    @classmethod
    def _has_a_port(cls, address: str) -> str:
        if host_port(address)[1] > MAX_PORT:
            raise ValueError(f"a port is {MAX_PORT} at most")
        return address


def host_port(address: str) -> tuple[str, int]:
    """``host:port`` as a pair; an empty host means every interface."""
    host, _, port = address.rpartition(":")
    return host, int(port)
