"""Refresh policies, as they run on devices, over evidence: who asks when, and what is then held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from device_runtime.refresh.policy import RefreshPolicy, RefreshState
from device_runtime.state.cues import CUES
from experiments.studies.frontier.evidence import Evidence
from experiments.studies.frontier.windows import LastSteps

Element = TypeVar("Element", bound=np.generic)
DRIFT, OMEGA = CUES.index("drift"), CUES.index("omega")


@dataclass(frozen=True, eq=False)
class Shown:
    """What devices see of evidence: of every (user, request, snapshot), flat, as plain numbers.

    A drive reads them one by one, and many drives the same ones.
    """

    r: list[float]
    inconsistency: list[float]
    inconsistency_top: list[float]
    omega: list[float]
    drift: list[float]
    cues: NDArray[np.float32]

    @staticmethod
    def of(evidence: Evidence) -> Shown:
        cues = evidence.cues
        return Shown(
            r=evidence.r.ravel().tolist(),
            inconsistency=evidence.inconsistency.ravel().tolist(),
            inconsistency_top=evidence.inconsistency_top.ravel().tolist(),
            omega=cues[..., OMEGA].ravel().tolist(),
            drift=cues[..., DRIFT].ravel().tolist(),
            cues=cues.reshape(-1, cues.shape[-1]),
        )


@dataclass(frozen=True, eq=False)
class Course:
    """What came of a policy; request 0 of every window is where the free first snapshot is from.

    Attributes:
        held: [U, T] int64 the request whose moment the snapshot that answered j is of.
        asked: [U, T] bool attempts after request j.
        served: [U, T] bool attempts that brought a snapshot: it answers from request j + 1 on.
    """

    held: NDArray[np.int64]
    asked: NDArray[np.bool_]
    served: NDArray[np.bool_]

    def outcome(self, matrix: NDArray[Element]) -> NDArray[Element]:
        """[U, T - 1] of a matrix [U, T, T] what the requests after the first one met."""
        users = np.arange(len(matrix))[:, None]
        return matrix[users, np.arange(1, matrix.shape[1]), self.held[:, 1:]]


def drive(
    policies: Sequence[RefreshPolicy],
    shown: Shown,
    windows: LastSteps,
    order: NDArray[np.int64],
    up: NDArray[np.bool_] | None = None,
) -> Course:
    """Let every device make its requests, all of them interleaved.

    A refresh takes effect at the next request, as in the fleet. A policy is shown what its device
    knows at that moment and nothing of later ones.

    Args:
        policies: [U] each user's own.
        order: [U * T] flat places of the requests as they come in (see ``interleaved``).
        up: [U, T] whether the cloud answers an attempt after request j; None: always.
    """
    users, length = windows.time_s.shape
    devices = [_Device(policy) for policy in policies]
    held = np.zeros((users, length), dtype=np.int64)
    asked, served = np.zeros_like(held, dtype=np.bool_), np.zeros_like(held, dtype=np.bool_)
    time = windows.time_s.tolist()
    for place in order.tolist():
        user, now = divmod(place, length)
        if now == 0:
            continue
        device = devices[user]
        held[user, now] = device.held
        if device.policy.wants_refresh(_state(shown, length, time[user], user, now, device)):
            asked[user, now] = True
            device.attempted = now
            if up is None or up[user, now]:
                served[user, now] = True
                device.held = now
    return Course(held, asked, served)


@dataclass
class _Device:
    """Held is the request its snapshot is of; attempted the last one after which it asked."""

    policy: RefreshPolicy
    held: int = 0
    attempted: int = 0


def _state(
    shown: Shown, length: int, time: list[float], user: int, now: int, device: _Device
) -> RefreshState:
    at = (user * length + now) * length + device.held
    return RefreshState(
        requests_since_attempt=now - device.attempted,
        has_snapshot=True,
        in_flight=False,
        delta=now - device.held,
        omega=shown.omega[at],
        drift=shown.drift[at],
        r=shown.r[at],
        age_s=time[now] - time[device.held],
        since_attempt_s=time[now] - time[device.attempted],
        inconsistency=shown.inconsistency[at],
        inconsistency_top=shown.inconsistency_top[at],
        alpha=1.0 - shown.r[at],
        cues=shown.cues[at],
    )
