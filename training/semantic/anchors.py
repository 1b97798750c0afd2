"""Anchors: the (user, tau) points at which abstracts are written and embedded for training.

An abstract at tau has seen events 0 .. tau - 1 of its user and is written at the moment of the
request it accompanies: event tau's time, hour and query, never its item. Anchors are laid in runs
whose members lie at most MAX_GAP apart, so that one text serves as the fresh snapshot of its own
step and as the stale one of later steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from device_runtime.abstract.writer import REMEMBERED, AbstractWriter, TemplateAbstract
from device_runtime.state.history import RequestContext, Window
from shared.interactions import InteractionLog
from shared.profile import DeviceProfile
from shared.split import MIN_HISTORY, Split, Steps, stale_tau

MAX_GAP = 20
RUN = (0, 5, 10, 15, 20)  # spacing of the gaps that are reported: 5, 10 and 20
BETWEEN_YIELDS = 16  # abstracts, of some tens of milliseconds at most
SHORT_GAPS = (1, 2, 3, 4)  # one more member per run, so that every gap 1 .. 20 occurs


@dataclass(frozen=True, eq=False)
class Anchors:
    """Distinct points, sorted by user, then tau.

    Attributes:
        user: [A] int64 user index.
        tau: [A] int64, number of events known.
    """

    user: NDArray[np.int64]
    tau: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.user)

    def find(self, user: NDArray[np.integer], tau: NDArray[np.integer]) -> NDArray[np.int64]:
        """Row of each (user, tau) [n], -1 where it is no anchor."""
        if len(self) == 0:
            return np.full(len(user), -1, dtype=np.int64)
        own, wanted = _code(self.user, self.tau), _code(user, tau)
        place = np.minimum(np.searchsorted(own, wanted), len(own) - 1)
        return np.where(own[place] == wanted, place, -1).astype(np.int64)


def training_anchors(split: Split, per_user: int) -> Anchors:
    """Up to ``per_user`` training steps of every user, in runs spread over the history.

    A step t lies in MIN_HISTORY <= t < calibration_start: its target is one the backbone trains
    on. One run ends at the last such step; the others end at random earlier ones, the same for
    every seed, so that runs of several seeds embed each text once.
    """
    rng = np.random.default_rng(0)
    run_length = len(RUN) + 1
    users, taus = [], []
    for user, stop in enumerate(split.calibration_start.tolist()):
        if stop <= MIN_HISTORY:
            continue
        chosen: dict[int, None] = {}
        # A few more runs than fit, because runs of short histories overlap or are cut.
        for number in range(2 * -(-per_user // run_length)):
            top = stop - 1 if number == 0 else int(rng.integers(MIN_HISTORY, stop))
            near = int(rng.choice(SHORT_GAPS))
            steps = [top - back for back in (0, near, *RUN[1:])]
            chosen.update(dict.fromkeys(s for s in steps if s >= MIN_HISTORY))
        kept = list(chosen)[:per_user]
        users += [user] * len(kept)
        taus += kept
    return _distinct(np.array(users, dtype=np.int64), np.array(taus, dtype=np.int64))


def stale_anchors(steps: Steps, gaps: Sequence[int]) -> Anchors:
    """The steps themselves (gap 0) and the points ``gaps`` events before, not below MIN_HISTORY."""
    user, step = steps.user.astype(np.int64), steps.step.astype(np.int64)
    taus = [stale_tau(step, gap) for gap in (0, *gaps)]
    return _distinct(np.tile(user, len(taus)), np.concatenate(taus))


def merge(*parts: Anchors) -> Anchors:
    """All distinct anchors of the parts."""
    users, taus = [p.user for p in parts], [p.tau for p in parts]
    return _distinct(np.concatenate(users), np.concatenate(taus))


def write_abstracts(
    log: InteractionLog, anchors: Anchors, writer: AbstractWriter, profile: DeviceProfile
) -> list[str]:
    """The text a device of this profile would send at each anchor [A].

    Reads events before tau, and of event tau its time, hour, query and place in its session alone.
    """
    return list(_abstracts(log, anchors, writer, profile))


async def write_abstracts_yielding(
    log: InteractionLog, anchors: Anchors, writer: AbstractWriter, profile: DeviceProfile
) -> list[str]:
    """As ``write_abstracts``, letting the event loop run now and then.

    Raises:
        asyncio.CancelledError: within the time of BETWEEN_YIELDS abstracts.
    """
    texts = []
    for text in _abstracts(log, anchors, writer, profile):
        texts.append(text)
        if len(texts) % BETWEEN_YIELDS == 0:
            await asyncio.sleep(0)
    return texts


def _abstracts(
    log: InteractionLog, anchors: Anchors, writer: AbstractWriter, profile: DeviceProfile
) -> Iterator[str]:
    hours, sessions = log.local_hour_of_week(), log.session_events()
    times = np.full(len(log), np.nan) if log.time is None else log.time
    advancing = None
    if profile.retain == "all" and isinstance(writer, TemplateAbstract):
        advancing = _Advancing(log, hours, writer)
    for user, tau in zip(anchors.user.tolist(), anchors.tau.tolist(), strict=True):
        first = int(log.user_start[user])
        now = first + tau
        context = RequestContext(
            time=None if log.time is None else float(log.time[now]),
            hour_of_week=float(hours[now]),
            query="" if log.query is None else log.query[now],
            session_events=None if sessions is None else int(sessions[now]),
        )
        # Beyond what a writer remembers of a window, no digest of all events says the same.
        if advancing is not None and tau <= REMEMBERED:
            yield advancing.text(user, tau, context)
            continue
        oldest = max(0, tau - profile.window) if profile.retain == "window" else 0
        known = slice(first + oldest, now)
        yield writer.write(Window(log.item[known], times[known], hours[known]), context)


class _Advancing:
    """Abstracts from one digest, advanced from anchor to anchor of a user: each event once."""

    def __init__(
        self, log: InteractionLog, hours: NDArray[np.float32], writer: TemplateAbstract
    ) -> None:
        self._log, self._hours, self._writer = log, hours, writer
        self._user, self._digest = -1, writer.digest()

    def text(self, user: int, tau: int, context: RequestContext) -> str:
        if user != self._user or tau < len(self._digest):
            self._user, self._digest = user, self._writer.digest()
        first = int(self._log.user_start[user])
        new = slice(first + len(self._digest), first + tau)
        items, hours = self._log.item[new].tolist(), self._hours[new].tolist()
        for item, hour in zip(items, hours, strict=True):
            self._digest.observe(item, hour)
        return self._writer.tell(self._digest, context)


def _distinct(user: NDArray[np.int64], tau: NDArray[np.int64]) -> Anchors:
    _, first = np.unique(_code(user, tau), return_index=True)
    return Anchors(user[first], tau[first])


def _code(user: NDArray[np.integer], tau: NDArray[np.integer]) -> NDArray[np.int64]:
    return user.astype(np.int64) << 32 | tau.astype(np.int64)
