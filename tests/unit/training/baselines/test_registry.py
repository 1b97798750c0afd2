"""What holds of every method of another paper: it reads its own past alone, and repeats itself."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from shared.interactions import InteractionLog
from tests.support.baselines import GAPS, Trial, cache_in, trial_with
from tests.support.logs import drifting_log
from tests.unit.training.test_leakage import changed_from
from training.baselines.base import FittedBaseline, ListsItself, Rows, World
from training.baselines.registry import BASELINES
from training.calibration.pairs import Pairs, pairs_at_gap
from training.semantic.embedding_cache import EmbeddingCache

USERS, EVENTS, GAP = 24, 30, max(GAPS)
LOGS = {"allow": drifting_log(), "exclude": drifting_log(returns=False, items=60)}


def moved_on(log: InteractionLog, step: np.ndarray) -> InteractionLog:
    """``log`` with another item at event ``step`` [U], whose moment stays, and others after it."""
    later = changed_from(log, step + 1)
    return dataclasses.replace(later, item=changed_from(log, step).item)


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """Requests, and the same ones in logs that went on otherwise."""

    trial: Trial
    retold: Trial  # other test events, so the same training
    from_t: World  # otherwise from the first scored request on
    from_tau: World  # from its snapshot on
    earlier: World  # from before that
    pairs: Pairs  # the first scored request of every user, with a snapshot GAP events old

    def scores(
        self, fitted: FittedBaseline, world: World, rows: Rows | slice = slice(None)
    ) -> Tensor:
        with torch.no_grad():
            return fitted.scores(world, self.pairs.fresh[rows], self.pairs.stale[rows])


async def case_of(folder: Path, policy: str, cache: EmbeddingCache) -> Case:
    log = LOGS[policy]
    # The policy is named: other test events may be returns, by which it would be told.
    original = await trial_with(cache, folder, log, policy=policy)
    t = original.fitting.run.split.first_test
    anchors, steps = original.world.requests.anchors, original.steps
    pairs = pairs_at_gap(anchors, steps, GAP)
    _, first = np.unique(anchors.user[pairs.fresh], return_index=True)
    return Case(
        trial=original,
        retold=await trial_with(cache, folder, moved_on(log, t), policy=policy),
        from_t=await original.world_after(moved_on(log, t)),
        from_tau=await original.world_after(moved_on(log, t - GAP)),
        earlier=await original.world_after(moved_on(log, t - GAP - 3)),
        pairs=pairs[first],
    )


@pytest.fixture(scope="module", params=list(LOGS))
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Case]:
    folder = tmp_path_factory.mktemp(request.param)
    with cache_in(folder) as cache:
        yield asyncio.run(case_of(folder, request.param, cache))


@pytest.mark.parametrize("name", BASELINES)
def test_a_method_reads_its_own_past_alone(name: str, case: Case) -> None:
    method, world = BASELINES[name], case.trial.world
    fitted = asyncio.run(method.fit(case.trial.fitting))
    found = case.scores(fitted, world)
    assert found.shape == (USERS, world.n_items)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    # No item of the request or later, and of a cloud method none since its snapshot.
    assert torch.equal(found, case.scores(fitted, case.from_t))
    assert torch.equal(found, case.scores(fitted, case.from_tau)) == (method.reads == "cloud")
    assert not torch.equal(found, case.scores(fitted, case.earlier))
    # Fitting knows no test event, and repeats itself.
    again = asyncio.run(method.fit(case.retold.fitting))
    assert torch.equal(found, case.scores(again, world))
    # A request's answer is its own, whatever it is asked beside.
    alone = case.scores(fitted, world, slice(3, 4))
    torch.testing.assert_close(alone, found[3:4], rtol=1e-4, atol=1e-5)
    costs = fitted.costs
    assert costs.parameters > 0
    assert (costs.device_bytes > 0) == (method.reads != "cloud")
    if method.reads == "device":
        assert costs.snapshot_bytes == 0
    if isinstance(fitted, ListsItself):
        with torch.no_grad():
            items = fitted.listed(world, case.pairs.stale, 7)
        assert items.shape == (USERS, 7)
        assert all(len(set(row)) == 7 for row in items.tolist())
        barred = world.barred(case.pairs.stale)
        assert barred is None or not barred.gather(1, items).any()
