from __future__ import annotations

import numpy as np
import pytest
import torch

from cloud_service.generation.network import GenerativeNetwork
from shared.generator_config import Generative, GeneratorConfig
from shared.item_tokens import ItemTokens


@pytest.fixture
def tokens() -> ItemTokens:
    """Sixty items over three places; beginnings have between one and several continuations."""
    every = np.stack(np.meshgrid(range(6), range(5), range(4), indexing="ij"), -1).reshape(-1, 3)
    drawn = np.random.default_rng(1).choice(len(every), 60, replace=False)
    return ItemTokens(every[drawn].astype(np.int32), (6, 5, 4))


def network_for(tokens: ItemTokens, model: Generative = "p5", seed: int = 0) -> GenerativeNetwork:
    torch.manual_seed(seed)
    config = GeneratorConfig(
        model=model, levels=tokens.sizes, history=6, d_model=16, d_ff=32, d_kv=8, heads=2
    )
    return GenerativeNetwork(config).eval()
