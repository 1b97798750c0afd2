"""Which request is made when: the interaction log as open-loop traffic."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from loadtest.settings import ReplaySettings
from shared.errors import ConfigError
from shared.interactions import InteractionLog
from shared.split import Split


@dataclass(frozen=True, eq=False)
class Schedule:
    """n requests in the order they are due, each user's in the order of their log.

    Attributes:
        user: [n] int32 user index.
        step: [n] int32 step t: events of the user known when the request is made.
        target: [n] int32 item of event t, which the user does right after the answer.
        row: [n] int64 row of event t in the log.
        time: [n] float64 Unix seconds of event t, or None when the log only has an order.
        scheduled_s: [n] float64 seconds from the start of the replay, non-decreasing.
        window_s: length of the replay, in seconds.
        speed_up: log seconds per replayed second; None where user timelines were stretched.
    """

    user: NDArray[np.int32]
    step: NDArray[np.int32]
    target: NDArray[np.int32]
    row: NDArray[np.int64]
    time: NDArray[np.float64] | None
    scheduled_s: NDArray[np.float64]
    window_s: float
    speed_up: float | None

    def __len__(self) -> int:
        return len(self.user)

    def first_steps(self) -> dict[int, int]:
        """User -> first step that is replayed, in order of user; what came before is history."""
        users, first = np.unique(self.user, return_index=True)
        return dict(zip(users.tolist(), self.step[first].tolist(), strict=True))

    def of_users(self, users: Collection[int]) -> Schedule:
        """The same requests at the same moments, of these users alone."""
        keep = np.isin(self.user, np.fromiter(users, np.int64, len(users)))
        return replace(
            self,
            user=self.user[keep],
            step=self.step[keep],
            target=self.target[keep],
            row=self.row[keep],
            time=None if self.time is None else self.time[keep],
            scheduled_s=self.scheduled_s[keep],
        )


def build_schedule(
    log: InteractionLog, split: Split, settings: ReplaySettings, *, seed: int
) -> Schedule:
    """Draw users and place the last test events of each on the replay's clock.

    Args:
        log: the interactions.
        split: only its test steps are replayed, so no training event is ever asked for.
        settings: ``users`` and ``steps`` bound the requests; ``align``, ``speed_up`` and
            ``duration_s`` place them.
        seed: of the sample of users and of the jitter.

    Raises:
        ConfigError: no user has test steps, or ``speed_up`` is asked of a log without times.
    """
    if settings.speed_up is not None and log.time is None:
        raise ConfigError(
            f"replay.speed_up compresses log time, but log {log.name!r} has no times; "
            "set replay.duration_s instead"
        )
    rng = np.random.default_rng(seed)
    user, step = _last_steps(split, settings, rng)
    row = log.user_start[user] + step
    time = None if log.time is None else log.time[row]
    span = 0.0 if time is None else float(time.max() - time.min())
    window = settings.duration_s
    if settings.speed_up is not None:
        window = span / settings.speed_up
    if aligned := time is None or settings.align == "users":
        scheduled = _stretched(user, rng) * window
    elif span > 0:
        scheduled = (time - time.min()) / span * window
    else:
        scheduled = np.zeros(len(user))
    # Ties are broken by user and step, so a user's own order holds and every run is the same.
    order = np.lexsort((step, user, scheduled))
    return Schedule(
        user=user[order],
        step=step[order],
        target=log.item[row][order],
        row=row[order],
        time=None if time is None else time[order],
        scheduled_s=scheduled[order],
        window_s=window,
        speed_up=None if aligned or window == 0 else span / window,
    )


def _last_steps(
    split: Split, settings: ReplaySettings, rng: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The sampled users' last test steps, sorted by user, then step: two arrays [n]."""
    tested = split.tested()
    if len(tested) == 0:
        raise ConfigError("no user has test steps to replay; the log's users have too few events")
    chosen = np.sort(rng.permutation(tested)[: settings.users])
    stop = split.test_stop[chosen]
    counts = np.minimum(stop - split.first_test[chosen], settings.steps)
    user = np.repeat(chosen, counts)
    place = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
    step = np.repeat(stop - counts, counts) + place
    return user.astype(np.int32), step.astype(np.int32)


def _stretched(user: NDArray[np.int32], rng: np.random.Generator) -> NDArray[np.float64]:
    """Every user's own timeline over [0, 1): the j-th of m requests falls into [j/m, (j+1)/m).

    In logs such as MovieLens-100K each user was active in one sitting, and the sittings are
    spread over months. On the log's own clock, however compressed, hardly two devices would be
    active together and a device's whole life would fit between two outages. Stretching keeps
    each user's order and lets the fleet live through the same cloud; only ranks are kept of the
    spacing, and the jitter, uniform within a request's own slot, keeps users out of step.
    """
    _, first, counts = np.unique(user, return_index=True, return_counts=True)
    place = np.arange(len(user)) - np.repeat(first, counts)
    return (place + rng.random(len(user))) / np.repeat(counts, counts)
