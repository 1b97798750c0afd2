"""A log's requests as devices see them: context, history and encoding at any step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from device_runtime.abstract.digest import Digest
from device_runtime.abstract.writer import TemplateAbstract
from device_runtime.ranking.encoded import Encoded, encode
from device_runtime.ranking.own_terms import OwnState
from device_runtime.state.history import History, RequestContext
from device_runtime.state.lapse import Lapse, SessionCount, lapse_since
from loadtest.evaluation.evaluation_models import EvaluationModels
from shared.interactions import InteractionLog
from shared.split import Steps


class LogRequests:
    """Step t of a user is the request made at the moment of event t, with t events known."""

    def __init__(self, log: InteractionLog, models: EvaluationModels) -> None:
        self._log, self._models = log, models
        self._hour, self._session = log.local_hour_of_week(), log.session_events()
        self._writer: TemplateAbstract | None = None  # of digests

    def target(self, user: int, step: int) -> int:
        return int(self._log.item[self._row(user, step)])

    def is_last(self, user: int, step: int) -> bool:
        """Whether this is the leave-one-out step of the user."""
        return self._row(user, step) + 1 == int(self._log.user_start[user + 1])

    def history(self, user: int, step: int) -> NDArray[np.int32]:
        """[t] items of all events known at the step, oldest first (a view)."""
        return self._log.item[self._row(user, 0) : self._row(user, step)]

    def context(self, user: int, step: int) -> RequestContext:
        """Moment of the request, and the user's query if the log has one."""
        row = self._row(user, step)
        query = "" if self._log.query is None else self._log.query[row]
        session = None if self._session is None else int(self._session[row])
        return RequestContext(self._time(row), float(self._hour[row]), query, session)

    def encode(self, user: int, steps: Iterable[int]) -> Iterator[tuple[int, Encoded | None]]:
        """Each of ``steps``, ascending, and the encoding of the history fed up to it."""
        models = self._models
        for step, history, _, own in self._follow(user, steps):
            context = self.context(user, step)
            yield step, encode(models, models.table, history, context, own.terms(context))

    def lapses(self, user: int, wanted: Mapping[int, Iterable[int]]) -> Iterator[tuple[int, Lapse]]:
        """Each step of ``wanted`` and its lapse since a snapshot of each of the ages (delta)."""
        has_time = self._models.manifest.has_time
        for step, history, sessions, _ in self._follow(user, wanted):
            context = self.context(user, step)
            for delta in sorted(set(wanted[step])):
                yield step, lapse_since(delta, history, sessions, context, has_time=has_time)

    def _follow(
        self, user: int, steps: Iterable[int]
    ) -> Iterator[tuple[int, History, SessionCount, OwnState]]:
        """What a device knows at each of ``steps``, ascending; later ones change it."""
        profile = self._models.profile
        history, sessions = History(profile.window, profile.retain), SessionCount()
        own = OwnState(self._models, self._digest())
        for step in sorted(set(steps)):
            for row in range(self._row(user, history.total), self._row(user, step)):
                item, hour, time = int(self._log.item[row]), float(self._hour[row]), self._time(row)
                history.append(item, time, hour)
                sessions.observe(time)
                own.observe(item, hour)
            yield step, history, sessions, own

    def _digest(self) -> Digest | None:
        """Of no event, for a text student to read; None where the bundle has none."""
        if self._models.manifest.text_student is None:
            return None
        if self._writer is None:
            self._writer = TemplateAbstract(self._log.catalogue, self._models.manifest.abstract)
        return self._writer.digest()

    def _time(self, row: int) -> float | None:
        return None if self._log.time is None else float(self._log.time[row])

    def _row(self, user: int, step: int) -> int:
        return int(self._log.user_start[user]) + step


def by_user(steps: Steps) -> Iterator[tuple[int, list[int]]]:
    """Each user of ``steps`` with their steps, ascending."""
    users, starts = np.unique(steps.user, return_index=True)
    for user, own in zip(users.tolist(), np.split(steps.step, starts[1:]), strict=True):
        yield user, own.tolist()
