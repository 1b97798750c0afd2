"""Stage: one step of training as an object that knows all that decides its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Any, Generic, TypeVar

import shared
from shared.progress import Progress
from training.background import in_thread
from training.stages.code import code_of
from training.stages.content import content
from training.stages.forms import Saved

T = TypeVar("T")
KEY_LENGTH = 16


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage(Generic[T]):
    """A result, what it depends on, how it is computed and how it is kept.

    Attributes:
        name: of the stage's folders; letters, digits and dashes.
        version: raised when results change for a reason that is none of the others.
        options: what it is computed with. It holds only what decides the result: see ``content``
            for what it may be made of.
        inputs: the data it reads, by name.
        upstream: stages whose results ``build`` gets, in this order.
        code: what computes it (see ``code_of``) beside ``shared`` and the code of ``upstream``.
        libraries: distributions whose version decides the result.
        build: called with a progress and the results of ``upstream``.
        form: how the result is kept.
    """

    name: str
    version: int = 1
    options: object = None
    inputs: Mapping[str, object] = field(default_factory=dict)
    upstream: tuple[Stage[Any], ...] = ()
    code: tuple[object, ...]
    libraries: tuple[str, ...] = ("numpy", "torch")
    build: Callable[..., Awaitable[T]]
    form: Saved[T]

    @cached_property
    def key(self) -> str:
        """Hash over all that decides the result."""
        return stage_key(
            version=self.version,
            options=content(self.options),
            inputs=content(self.inputs),
            upstream=[stage.key for stage in self.upstream],
            code=code_of((shared, *self.code)),
            libraries={name: version(name) for name in self.libraries},
        )


def threaded(fit: Callable[..., T]) -> Callable[..., Awaitable[T]]:
    """``fit``, which gets what a stage's ``build`` gets, in a thread of its own."""

    async def build(progress: Progress, *found: Any) -> T:
        return await in_thread(lambda stoppable: fit(stoppable, *found), progress)

    return build


def stage_key(**inputs: Any) -> str:
    """Hash of JSON-like inputs (sorted, floats exact); 16 hex digits."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]
