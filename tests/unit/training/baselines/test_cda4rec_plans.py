"""Plans of CDA4Rec against a list written out by hand, request by request."""

from __future__ import annotations

import numpy as np
import torch

from shared.metrics import ndcg
from shared.profile import preset
from training.baselines.cda4rec.plans import PLANS, before_others, plan_gains, plan_scores
from training.calibration.pairs import Pairs, top_candidates
from training.pools import Pools, make_pools
from training.semantic.requests import Requests

ITEMS, DIM = 12, 3
OWN = (2, 7)
STARTER = (0, 1)
LIST = (7, 5, 9)


def pools_of(profile: str = "tiny") -> Pools:
    rng = torch.Generator().manual_seed(0)
    own = torch.zeros(1, ITEMS, dtype=torch.bool)
    own[0, list(OWN)] = True
    return Pools(
        profile=preset(profile),
        vectors=torch.randn(ITEMS, DIM, generator=rng),
        structural=torch.randn(1, ITEMS, generator=rng),
        target=torch.tensor([5]),
        barred=None,
        own=own,
        starter=torch.tensor(STARTER if profile == "tiny" else ()).long(),
    )


def written_out(scores: list[float], among: set[int], own: list[float]) -> list[int]:
    """The order of all items: those of the pool by their scores, then the others by ``own``."""
    inside = sorted(among, key=lambda item: -scores[item])
    outside = sorted(set(range(ITEMS)) - among, key=lambda item: -own[item])
    return [*inside, *outside]


def test_each_plan_orders_all_items_as_its_division_of_work_says() -> None:
    pools, items, weighted = pools_of(), torch.tensor([LIST]), torch.tensor([[0.5, -1.0, 2.0]])
    found = plan_scores(pools, items, weighted)[0]
    assert found.shape == (len(PLANS), ITEMS)
    own = pools.structural[0].tolist()
    semantic = (pools.vectors @ weighted[0]).tolist()
    fused = [a + b for a, b in zip(own, semantic, strict=True)]
    united = {*LIST, *OWN, *STARTER}
    united |= set() if len(united) >= 10 else {*STARTER}
    expected = {
        "device": written_out(own, {*OWN, *STARTER}, own),
        "cloud": written_out(semantic, {*LIST}, own),
        "fuse": written_out(fused, {*LIST}, own),
        "fuse-own": written_out(fused, united, own),
        "rerank": written_out(own, {*LIST}, own),
    }
    for plan, scores in zip(PLANS, found, strict=True):
        assert scores.argsort(descending=True).tolist() == expected[plan], plan
    assert found.isfinite().all()


def test_another_embedding_changes_what_is_fused_and_nothing_else() -> None:
    pools, items = pools_of(), torch.tensor([LIST])
    cached, mended = torch.tensor([[0.5, -1.0, 2.0]]), torch.tensor([[-1.0, 0.0, 1.0]])
    plain, other = plan_scores(pools, items, cached), plan_scores(pools, items, mended)
    found = plan_scores(pools, items, cached, mended)
    for place, plan in enumerate(PLANS):
        expected = other if plan.startswith("fuse") else plain
        torch.testing.assert_close(found[:, place], expected[:, place], rtol=0, atol=0)


def test_a_device_with_a_table_ranks_the_whole_catalogue_alone() -> None:
    pools = pools_of("small")
    found = plan_scores(pools, torch.tensor([LIST]), torch.zeros(1, DIM))[:, 0]
    torch.testing.assert_close(found, pools.structural, rtol=0, atol=0)


def test_whoever_is_outside_comes_behind_and_scores_inside_stay() -> None:
    scores, others = torch.randn(3, 6), 100 * torch.randn(3, 6)
    among = torch.tensor([[1, 0, 0, 1, 0, 0], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]]).bool()
    found = before_others(scores, among, others)
    torch.testing.assert_close(found[among], scores[among], rtol=0, atol=0)
    assert found[0, among[0]].min() > found[0, ~among[0]].max()
    torch.testing.assert_close(found[2], others[2], rtol=0, atol=0)
    assert before_others(scores, None, others) is scores


class SmallTwin:
    """As much of a twin as plans ask for."""

    def __init__(self, requests: Requests) -> None:
        rng = torch.Generator().manual_seed(1)
        self.requests, self.fusion_weight = requests, 0.7
        self.e_sem = torch.randn(requests.e_str.shape, generator=rng)
        self.candidates = top_candidates(self.e_sem, requests.semantics, 5)
        self.popularity = np.arange(len(requests.table.bias), dtype=np.float32)

    def pools(self, rows: np.ndarray) -> Pools:
        return make_pools(self.requests, rows, preset("tiny"), self.popularity, exclude_seen=False)


def test_gains_are_the_ndcg_of_the_plans_own_ranking(requests_of_log: Requests) -> None:
    twin = SmallTwin(requests_of_log)
    rows = np.arange(20, 40)
    pairs = Pairs(rows, rows - 1)
    found = plan_gains(twin, pairs)  # type: ignore[arg-type]
    for place, (fresh, stale) in enumerate(zip(pairs.fresh, pairs.stale, strict=True)):
        pools = twin.pools(np.array([fresh]))
        weighted = 0.7 * twin.e_sem[[stale]]
        fused = pools.structural + weighted @ pools.vectors.T
        among = pools.listed(twin.candidates[[stale]])
        inside = among[0, pools.target[0]]
        better = (fused[0] > fused[0, pools.target[0]]) & among[0]
        gain = 1 / np.log2(2 + int(better.sum())) if inside else None
        if gain is not None:
            assert abs(found[place, PLANS.index("fuse")] - gain) < 1e-9
        cloud = pools.ranks(weighted @ pools.vectors.T, among)
        if inside:
            assert abs(found[place, PLANS.index("cloud")] - ndcg(cloud, 10)[0]) < 1e-9
    assert len(np.unique(found, axis=1)) > 1
    assert (found > 0).any()
