"""Answer: what a device recommends, in ids and words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from device_runtime.ranking.response import Response, Source


class Recommended(NamedTuple):
    """One item; ``score`` orders the items of one answer and means nothing beyond it."""

    item: str
    title: str
    score: float


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer to one request.

    Attributes:
        items: best first.
        response: the same by indices, with all candidates, scores and diagnostics.
    """

    items: tuple[Recommended, ...]
    response: Response

    def __iter__(self) -> Iterator[Recommended]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    @property
    def source(self) -> Source:
        """Whether a snapshot was used, or the device was on its own ("local")."""
        return self.response.source

    @property
    def age(self) -> int:
        """Events since the snapshot was asked for; -1 without one."""
        return self.response.diagnostics.delta
