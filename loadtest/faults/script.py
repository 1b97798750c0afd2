"""FaultScript: all faults of a scenario, asked by time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from loadtest.faults.fault import Fault, Target
from loadtest.timing.availability import Outages

_WAYS: tuple[Target, ...] = ("device-link", "cloud-link")
_EVER = float("inf")


class FaultScript:
    """Faults in the order they begin; a pure function of time."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: (fault.at_s, fault.until_s)))
        self._by_target: dict[str, list[Fault]] = {}
        for fault in self.faults:
            self._by_target.setdefault(fault.target, []).append(fault)

    def __len__(self) -> int:
        return len(self.faults)

    def active(self, target: Target, t: float) -> list[Fault]:
        """Faults of ``target`` at ``t`` seconds."""
        return [fault for fault in self._by_target.get(target, ()) if fault.active(t)]

    def troubled(
        self, t: float, *, before: float, after: float, targets: Sequence[Target] | None = None
    ) -> bool:
        """Whether a fault is on at ``t``, begins within ``before`` or ended within ``after`` s.

        Args:
            targets: whose faults count; None: everybody's.
        """
        return any(
            fault.at_s - before <= t < fault.until_s + after
            for fault in self.faults
            if targets is None or fault.target in targets
        )

    def of(self, target: Target) -> tuple[Fault, ...]:
        return tuple(self._by_target.get(target, ()))

    def availability(self, replicas: int) -> Outages:
        """When no device can reach any cloud: cut links, or every replica gone at once."""
        cuts = [
            (fault.at_s, fault.until_s)
            for target in _WAYS
            for fault in self.of(target)
            if fault.kind == "cut"
        ]
        gone = [
            Outages(filter(None, (fault.gone(n, replicas) for fault in self.of("cloud"))))
            for n in range(replicas)
        ]
        moments = sorted({edge for one in gone for pair in one.intervals(_EVER) for edge in pair})
        for start, end in pairwise(moments):
            if not any(one.is_up(start) for one in gone):
                cuts.append((start, end))
        return Outages(cuts)

    def quiet_after(self) -> list[tuple[float, float]]:
        """[start, end) of the stretches without any fault that follow one; the last has no end."""
        busy = Outages((f.at_s, f.until_s) for f in self.faults).intervals(float("inf"))
        edges = [edge for interval in busy for edge in interval][1:]
        return list(zip(edges[::2], [*edges[1::2], float("inf")], strict=False))
