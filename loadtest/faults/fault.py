"""Fault: one thing that goes wrong somewhere, from one moment to another."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from shared.strict import Strict

Target = Literal[
    "device-link", "cloud-link", "redis-link", "embedder-link",
    "redis", "cloud", "embedder", "device-clock",
]  # fmt: skip
Kind = Literal[
    "cut", "slow", "errors", "resets", "restart", "failover",
    "kill", "freeze", "rolling", "silent", "stall", "nan", "step",
]  # fmt: skip

POSSIBLE: dict[Target, tuple[Kind, ...]] = {
    "device-link": ("cut", "slow", "errors"),
    "cloud-link": ("cut", "slow", "errors", "resets"),
    "redis-link": ("cut", "slow", "errors", "resets"),
    "embedder-link": ("cut", "slow", "errors", "resets"),
    "redis": ("restart", "failover"),
    "cloud": ("kill", "freeze", "rolling", "silent"),
    "embedder": ("stall", "nan"),
    "device-clock": ("step",),
}
_DOWN_SHARE = 0.5  # of its turn in a rolling update that a replica is gone


class Fault(Strict):
    """A fault of a target for a time.

    Attributes:
        target: ``device-link`` is the network as the device sees it; ``cloud-link`` the way into
            the cloud; ``redis-link`` and ``embedder-link`` the cloud's own ways; ``redis``,
            ``cloud`` and ``embedder`` are processes; ``device-clock`` is what the device takes for
            the time of day.
        kind: ``cut``: nothing passes; ``slow``: ``latency_s`` +- ``jitter_s`` more for a ``share``
            of answers; ``errors``: a ``share`` of requests fails; ``resets``: a ``share`` of
            connections is reset, drawn anew every second; ``restart``: gone for ``for_s``, then
            back and empty; ``failover``: for ``for_s`` what was the primary refuses writes, then a
            promoted replica with its data takes its place; ``kill``: one replica dies and is back
            after ``for_s``; ``freeze``: it stands still (SIGSTOP) for ``for_s``; ``rolling``: all
            are ended (SIGTERM) and started again, one after the other; ``silent``: ``connections``
            are opened that never say a word; ``stall``: accepts texts and never answers, while its
            health checks pass; ``nan``: a ``share`` of texts has no vector of numbers; ``step``:
            the clock is ``step_s`` off for ``for_s``.
        at_s, for_s: seconds of the replay.
        failure: how a cut shows: ``refuse``: at once; ``hang``: no answer at all; ``dns``: looking
            the name up blocks, whatever timeouts were asked for.
        answer: how a failed request shows: the connection is reset, or it is answered 503.
        replica: which cloud process.
    """

    target: Target
    kind: Kind
    at_s: float = Field(ge=0)
    for_s: float = Field(gt=0)
    failure: Literal["refuse", "hang", "dns"] = "refuse"
    answer: Literal["reset", "503"] = "reset"
    latency_s: float = Field(default=0.0, ge=0, le=60)
    jitter_s: float = Field(default=0.0, ge=0, le=60)
    share: float = Field(default=1.0, gt=0, le=1)
    replica: int = Field(default=0, ge=0)
    connections: int = Field(default=200, ge=1, le=5000)
    step_s: float = Field(default=0.0, ge=-1e9, le=1e9)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.kind not in POSSIBLE[self.target]:
            raise ValueError(
                f"{self.target} knows {', '.join(POSSIBLE[self.target])}, not {self.kind}"
            )
        if self.kind == "slow" and self.latency_s + self.jitter_s == 0:
            raise ValueError("slow needs latency_s")
        if self.jitter_s > self.latency_s:
            raise ValueError("jitter_s cannot exceed latency_s: nothing arrives before it was sent")
        if self.failure == "dns" and self.target != "device-link":
            raise ValueError("dns is a failure of device-link alone: the device looks names up")
        if self.target == "redis-link" and (self.answer != "reset" or self._slows_some):
            raise ValueError("redis-link carries no HTTP: share of slow and answer are not for it")
        if (self.kind == "step") != (self.step_s != 0):
            raise ValueError("step needs step_s, and nothing else does")
        return self

    @property
    def _slows_some(self) -> bool:
        return self.kind == "slow" and self.share < 1

    @property
    def until_s(self) -> float:
        return self.at_s + self.for_s

    @property
    def words(self) -> str:
        """As reports and errors name it."""
        return f"{self.target} {self.kind} at {self.at_s:g} s"

    def active(self, t: float) -> bool:
        return self.at_s <= t < self.until_s

    def gone(self, replica: int, replicas: int) -> tuple[float, float] | None:
        """[start, end) in which it leaves this cloud process unable to answer; None if never."""
        if self.target != "cloud" or self.kind == "silent":
            return None
        if self.kind == "rolling":
            turn_s = self.for_s / replicas
            start = self.at_s + replica * turn_s
            return start, start + turn_s * _DOWN_SHARE
        return (self.at_s, self.until_s) if self.replica == replica else None
