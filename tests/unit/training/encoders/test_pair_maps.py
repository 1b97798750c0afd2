from __future__ import annotations

import pytest
import torch

from training.encoders.pair_maps import PAIRS_IN_CACHE, pair_maps


@pytest.mark.parametrize("pairs", [1, PAIRS_IN_CACHE, 2 * PAIRS_IN_CACHE + 3])
def test_values_and_gradients_are_those_of_the_whole_at_once(pairs: int) -> None:
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(5, pairs, generator=rng)
    shapes = [(2, 5), (3, 5), (3,), (3,)]
    parts = [torch.randn(*shape, generator=rng).requires_grad_() for shape in shapes]
    linear, hidden, bias, out = parts
    active = torch.nn.functional.gelu(hidden @ features + bias[:, None])
    expected = torch.cat([linear @ features, (out @ active)[None]])
    found = pair_maps(features, *parts)
    torch.testing.assert_close(found, expected)
    weight = torch.randn(3, pairs, generator=rng) / pairs
    ours = torch.autograd.grad((found * weight).sum(), parts)
    theirs = torch.autograd.grad((expected * weight).sum(), parts)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)
