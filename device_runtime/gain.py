"""GainModel: what a refresh is expected to buy, from what a device knows."""

from __future__ import annotations

from typing import Protocol

from device_runtime.refresh import RefreshState


class GainModel(Protocol):
    """Read-only: all devices of a process share one."""

    def expected_gain(self, state: RefreshState) -> float:
        """NDCG@10 expected of a fresh snapshot minus that of the held one, for this request.

        NaN where the state has no cues: without a snapshot or without history.
        """
        ...
