"""Baseline: what a method of another paper is asked for, and all that it may read.

One file a method, and one line each in ``registry``. A cloud method reads the history up to the
snapshot's moment tau, a device method that up to the request's t, a method of both reads either:
SCaLRec (arXiv 2601.22543) section 5.4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shared.metrics import RANK, Ranks, ndcg, ranks_of
from shared.progress import Progress
from training.backbone.batches import Events, Windows, windows_before
from training.calibration.pairs import Pairs
from training.learning import few
from training.run import TrainingRun
from training.semantic.own_terms import count_bonus
from training.semantic.requests import Requests
from training.trained import TrainedModel
from training.twin import Twin

Reads = Literal["cloud", "device", "both"]
Rows = NDArray[np.int64]

CLOUD_WINDOW = 200  # events that a cloud model reads at most (SCaLRec section 5.1)
BATCH = 256  # requests whose scores of all items are in memory
FLOAT_BYTES = 4  # of a number of float32, as devices and snapshots hold them


@dataclass(frozen=True, eq=False)
class World:
    """Requests, and what a method may read at each of them.

    Rows are those of ``twin.requests``, one per anchor: a user and a number of events tau. At a row
    the events 0 .. tau - 1 of its user may be read and, of event tau, the time and the hour, since
    that is the moment of the request. Its item (``target``) and all later events may not.

    Attributes:
        twin: of a device; with it requests, e_sem [A, d] and candidates [A, N] of each row,
            popularity [I] and the repeat policy.
        abstracts: [A] text that a device sends at each row.
    """

    twin: Twin
    abstracts: Sequence[str]

    @property
    def requests(self) -> Requests:
        return self.twin.requests

    @property
    def n_items(self) -> int:
        return len(self.twin.popularity)

    def windows(self, rows: Rows, width: int) -> Windows:
        """The last ``width`` events before each of ``rows`` [B], without what follows them."""
        requests = self.requests
        events, anchors = requests.events, requests.anchors
        at = events.user_start[anchors.user[rows]] + anchors.tau[rows]
        found = windows_before(events, at, width, at)
        nothing = torch.zeros_like(found.next_item)
        return replace(found, next_item=nothing, wanted=nothing.bool())

    def seen(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """(place within ``rows``, item) of everything each user had, oldest first."""
        return self.requests.seen(torch.from_numpy(rows))

    def barred(self, rows: Rows) -> Tensor | None:
        """[B, I] items that may not be recommended again; None where repeats are allowed."""
        if not self.twin.exclude_seen:
            return None
        had = torch.zeros(len(rows), self.n_items, dtype=torch.bool)
        had[self.seen(rows)] = True
        return had

    def count_bonus(self, rows: Rows) -> Tensor:
        """[B, I] what a device adds to structure for its own events, as the product's does.

        For device methods whose scores are logits of the next item, as structure's are: a device
        keeps its events, whatever model it has. Zeros where validation gave counts no weight.
        """
        own = self.requests.own
        if own is None or own.counts is None:
            return torch.zeros(len(rows), self.n_items)
        return count_bonus(self.requests.counts(torch.from_numpy(rows), own), own.counts)


@dataclass(frozen=True, kw_only=True)
class MethodCosts:
    """What a fitted method costs beside its list of items.

    Attributes:
        parameters: numbers that were learned, item vectors included, on either side.
        device_bytes: of those that a device holds, as it would hold them; 0 for a cloud method.
        snapshot_bytes: what the cloud sends at a refresh, item ids aside.
        cloud_tokens: tokens of text that the cloud reads per call; 0 without a text model.
        device_us: microseconds of a request on the device; None where it was not measured.
    """

    parameters: int
    device_bytes: int = 0
    snapshot_bytes: int = 0
    cloud_tokens: float = 0.0
    device_us: float | None = None


class FittedBaseline(Protocol):
    """A method that ranks."""

    @property
    def costs(self) -> MethodCosts: ...

    def scores(self, world: World, fresh: Rows, stale: Rows) -> Tensor:
        """[B, I] float32 score of every item at B requests, the higher the better.

        Deterministic, and of each request alone. No gradient is recorded around it.

        Args:
            fresh: [B] rows of the requests at t. stale: [B] rows at tau <= t, of the same users. A
                cloud method reads ``stale`` alone, a device method ``fresh`` alone.
        """
        ...


@runtime_checkable
class ListsItself(Protocol):
    """A fitted method whose cloud makes another list than SCaLRec's."""

    def listed(self, world: World, stale: Rows, count: int) -> Tensor:
        """[B, N] items of its cloud's list at ``stale`` [B], best first, at most ``count``."""
        ...


class Baseline(Protocol):
    """A method and how it is trained: a dataclass of its options."""

    @property
    def reads(self) -> Reads: ...

    async def fit(self, fitting: Fitting) -> FittedBaseline:
        """Train on events before each user's calibration block; choose on validation steps.

        Deterministic in ``fitting.seed``; epochs as ``fitting.epochs`` allows.

        Raises:
            DataError: training diverged, or the log is too small for the method.
            EmbedderError, ConfigError: as from the run's stages.
        """
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Fitting:
    """What a method is trained with.

    Attributes:
        run: the product's own training run of the cell: its stages, settings, split and log. Its
            log holds test events; ``events`` does not.
        trained: all that it comes to.
        world: of the run's anchors: training, calibration and validation steps, and the moments
            before them that snapshots are from.
        validation: gap -> pairs of validation requests.
        most_epochs: bound on every method's passes, for a first look; None: as they want.
    """

    run: TrainingRun
    trained: TrainedModel
    world: World
    validation: Mapping[int, Pairs]
    most_epochs: int | None = None

    @property
    def seed(self) -> int:
        return self.run.settings.seed

    @property
    def threads(self) -> int:
        return self.run.settings.training.threads

    @property
    def progress(self) -> Progress:
        return self.run.progress

    @property
    def events(self) -> Events:
        """All events before each user's first test event: what a row of ``world`` may read of."""
        return self.run.steps.events

    @property
    def learned(self) -> Events:
        """The events that are targets of training: those before each user's calibration block."""
        return self.events.keep_first(self.run.split.calibration_start)

    @property
    def n_items(self) -> int:
        return self.world.n_items

    def epochs(self, wanted: int) -> int:
        return wanted if self.most_epochs is None else min(wanted, self.most_epochs)

    def sibling(self, *, window: int | None = None, **training: Any) -> TrainingRun:
        """A run that differs in ``training`` settings and in the window, and shares the stages.

        Its ``backbone()`` is a structure model of that kind (SASRec "equipped", say).
        """
        settings, run = self.run.settings, self.run
        profile = settings.profile
        if window is not None:
            profile = profile.model_copy(
                update={"window": window, "met_items": max(window, profile.met_items)}
            )
        options = settings.training.model_copy(update=training)
        changed = settings.model_copy(update={"training": options, "profile": profile})
        return TrainingRun(changed, run.log, run.embedder, run.cache, run.store, run.progress)

    def ndcg10(self, score: Scoring, gap: int = 0) -> float:
        """Mean NDCG@10 of the validation requests with snapshots of one age; 0 without any.

        Args:
            score: as ``FittedBaseline.scores``.
        """
        pairs = self.validation[gap]
        return mean_ndcg10(self.world, pairs, score) if len(pairs) else 0.0


Scoring = Callable[[World, Rows, Rows], Tensor]


def batches(pairs: Pairs) -> Iterator[tuple[NDArray[np.int64], Rows, Rows]]:
    """Places, fresh rows and stale rows of pairs, BATCH at a time."""
    for start in range(0, len(pairs), BATCH):
        at = np.arange(start, min(start + BATCH, len(pairs)))
        yield at, pairs.fresh[at], pairs.stale[at]


def sampled(pairs: Pairs, count: int) -> Pairs:
    """At most ``count`` of the pairs, the same every time."""
    return pairs[few(np.arange(len(pairs)), count)]


def best_items(world: World, rows: Rows, scores: Tensor, count: int) -> Tensor:
    """[B, N] the ``count`` best items at most, best first; none that is barred while others last.

    Args:
        rows: [B] whose users had what they had by then. scores: [B, I].
    """
    barred = world.barred(rows)
    if barred is not None:
        scores = scores.masked_fill(barred, -torch.inf)
    return scores.topk(min(count, world.n_items), dim=1).indices


def weights_in(*modules: nn.Module) -> int:
    """Numbers in the parameters of modules."""
    return sum(weight.numel() for module in modules for weight in module.parameters())


def mean_ndcg10(world: World, pairs: Pairs, score: Scoring) -> float:
    """Of the requests in ``pairs``, all items ranked; NaN without any."""
    return float(ndcg(full_ranks(world, pairs, score), 10).mean()) if len(pairs) else math.nan


@torch.no_grad()
def full_ranks(world: World, pairs: Pairs, score: Scoring) -> Ranks:
    """[P] rank of each target in the whole catalogue under the repeat policy."""
    found = np.empty(len(pairs), RANK)
    target = world.requests.target.numpy()
    for at, fresh, stale in batches(pairs):
        barred = world.barred(fresh)
        allowed = None if barred is None else (~barred).numpy()
        found[at] = ranks_of(score(world, fresh, stale).numpy(), target[fresh], allowed)
    return found
