"""Fault: one thing that goes wrong somewhere, from one moment to another."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from shared.strict import Strict

Target = Literal["device-link", "cloud-link", "redis-link", "embedder-link", "redis", "cloud"]
Kind = Literal["cut", "slow", "errors", "restart", "kill", "freeze"]

_POSSIBLE: dict[str, tuple[Kind, ...]] = {
    "device-link": ("cut", "slow", "errors"),
    "cloud-link": ("cut", "slow", "errors"),
    "redis-link": ("cut", "slow", "errors"),
    "embedder-link": ("cut", "slow", "errors"),
    "redis": ("restart",),
    "cloud": ("kill", "freeze"),
}


class Fault(Strict):
    """A fault of a target for a time.

    Attributes:
        target: ``device-link`` is the network as the device sees it; ``cloud-link`` the way into
            the cloud; ``redis-link`` and ``embedder-link`` the cloud's own ways; ``redis`` and
            ``cloud`` are processes.
        kind: ``cut``: nothing passes; ``slow``: ``latency_s`` +- ``jitter_s`` more per answer;
            ``errors``: a ``share`` of requests fails; ``restart``: gone for ``for_s``, then back
            and empty; ``kill``: one replica dies and is back after ``for_s``; ``freeze``: it
            stands still (SIGSTOP) for ``for_s``.
        at_s, for_s: seconds of the replay.
        failure: how a cut shows: ``refuse``: at once; ``hang``: no answer at all; ``dns``: looking
            the name up blocks, whatever timeouts were asked for.
        replica: which cloud process.
    """

    target: Target
    kind: Kind
    at_s: float = Field(ge=0)
    for_s: float = Field(gt=0)
    failure: Literal["refuse", "hang", "dns"] = "refuse"
    latency_s: float = Field(default=0.0, ge=0, le=60)
    jitter_s: float = Field(default=0.0, ge=0, le=60)
    share: float = Field(default=1.0, gt=0, le=1)
    replica: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.kind not in _POSSIBLE[self.target]:
            raise ValueError(
                f"{self.target} knows {', '.join(_POSSIBLE[self.target])}, not {self.kind}"
            )
        if self.kind == "slow" and self.latency_s + self.jitter_s == 0:
            raise ValueError("slow needs latency_s")
        if self.jitter_s > self.latency_s:
            raise ValueError("jitter_s cannot exceed latency_s: nothing arrives before it was sent")
        if self.failure == "dns" and self.target != "device-link":
            raise ValueError("dns is a failure of device-link alone: the device looks names up")
        return self

    @property
    def until_s(self) -> float:
        return self.at_s + self.for_s

    @property
    def words(self) -> str:
        """As reports and errors name it."""
        return f"{self.target} {self.kind} at {self.at_s:g} s"

    def active(self, t: float) -> bool:
        return self.at_s <= t < self.until_s

    @property
    def stops_the_cloud(self) -> bool:
        """Whether no refresh can succeed while it lasts (with one replica)."""
        gone = self.kind in ("kill", "freeze")
        return gone or (self.kind == "cut" and self.target in ("device-link", "cloud-link"))
