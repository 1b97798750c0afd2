"""Watch: looks after the parts of a run while it lasts, so that one that is gone is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

from launch.process import ChildProcess
from scalrec.stack.readiness import BUNDLE, CLOUD, Readiness
from shared.errors import LaunchError

Children = Callable[[], Mapping[str, ChildProcess]]

LOOK_S = 0.25
ALIVE_S = 1.0
READY_S = 5.0
PATIENCE_S = 5.0  # a busy cloud may miss a look
LAST_LOOK_S = 6.0
_LAST_WORDS = 3  # lines of a child's log
_LONGEST = 700


def never(part: str) -> bool:
    """No part is meant to be away."""
    return False


def always(part: str) -> bool:
    """Every part may be away."""
    return True


def nothing_started() -> dict[str, ChildProcess]:
    """The children of a run whose parts somebody else runs."""
    return {}


class Watch:
    """While the block runs, looks at children and at what the cloud says of its parts.

    A child that has ended or stands still is certain; a part that does not answer, or is said not
    to be ready, is told after PATIENCE_S, or if it still is so when the block ends.

    Args:
        children: those of now, by part: ``cloud`` (or ``cloud 0``, ``cloud 1``, ...), ``store``,
            ``embedder``.
        readiness: of the cloud; None: only the children are looked at.
        meant_away: whether a part is meant to be away just now. What is away on purpose is not
            told, and neither is what the cloud then says of that part.

    Attributes:
        troubles: one sentence per part, in the order they were noticed.
    """

    def __init__(
        self,
        children: Children,
        readiness: Readiness | None = None,
        meant_away: Callable[[str], bool] = never,
    ) -> None:
        self._children = children
        self._readiness = readiness
        self._meant_away = meant_away
        self._told: dict[str, str] = {}
        self._gone: set[str] = set()
        self._answers = True
        self._bad_since: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._began = time.monotonic()

    @property
    def troubles(self) -> list[str]:
        return list(self._told.values())

    def cloud_there(self) -> bool:
        """Whether the cloud was there at the last look."""
        clouds = [part for part in self._children() if part.split()[0] == CLOUD]
        gone = bool(clouds) and all(part in self._gone for part in clouds)
        return self._answers and not gone

    async def __aenter__(self) -> Self:
        self._began = time.monotonic()
        if self._readiness is not None:
            self._answers = await self._readiness.alive() is None
        self._tasks = [asyncio.create_task(self._look_at_children())]
        if self._readiness is not None:
            self._tasks.append(asyncio.create_task(self._look_at_cloud(self._readiness)))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        if kind is None:
            for outcome in outcomes:
                if isinstance(outcome, Exception):
                    raise outcome
            await self._last_look()

    async def _last_look(self) -> None:
        self._check_children()
        if self._readiness is None:
            return
        problems: dict[str, str] = {}
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_LOOK_S):
                while problems := self._unexpected(await self._readiness.problems()):
                    if BUNDLE in problems or not self._children_stand(problems):
                        break
                    await asyncio.sleep(LOOK_S * 2)
        for part, what in problems.items():
            self._tell(part, f"at the end of the replay {what}")

    def _children_stand(self, problems: Mapping[str, str]) -> bool:
        """Whether what is behind the problems may still answer."""
        gone = {part.split()[0] for part in self._gone}
        return not gone.intersection(problems)

    async def _look_at_children(self) -> None:
        while True:
            self._check_children()
            await asyncio.sleep(LOOK_S)

    def _check_children(self) -> None:
        for part, child in self._children().items():
            if self._meant_away(part):
                self._gone.discard(part)
                continue
            try:
                child.check(_LAST_WORDS)
            except LaunchError as error:
                self._gone.add(part)
                self._tell(part, f"{self._when()} {_one_line(str(error))}")
            else:
                self._gone.discard(part)

    async def _look_at_cloud(self, readiness: Readiness) -> None:
        ready_at = time.monotonic()
        while True:
            problem = await readiness.alive()
            self._answers = problem is None or self._meant_away(CLOUD)
            problems = {} if problem is None else {CLOUD: problem}
            now = time.monotonic()
            if not problems and (now >= ready_at or self._bad_since):
                problems = await readiness.problems()
                ready_at = time.monotonic() + READY_S
            self._consider(self._unexpected(problems), time.monotonic())
            await asyncio.sleep(ALIVE_S)

    def _consider(self, problems: Mapping[str, str], now: float) -> None:
        self._bad_since = {part: self._bad_since.get(part, now) for part in problems}
        for part, what in problems.items():
            # Another bundle is no matter of patience.
            if part == BUNDLE or now - self._bad_since[part] >= PATIENCE_S:
                self._tell(part, f"{self._when()} {what}")

    def _unexpected(self, problems: Mapping[str, str]) -> dict[str, str]:
        if self._meant_away(CLOUD):
            return {}
        return {part: what for part, what in problems.items() if not self._meant_away(part)}

    def _tell(self, part: str, what: str) -> None:
        self._told.setdefault(part, what)

    def _when(self) -> str:
        return f"{time.monotonic() - self._began:.0f} s into the replay"


def _one_line(text: str) -> str:
    flat = " | ".join(line.strip() for line in text.splitlines() if line.strip())
    return flat if len(flat) <= _LONGEST else f"{flat[:_LONGEST].rstrip()} …"
