"""omega against scipy's Spearman, with ties on both sides and at the cut of the semantic top."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ConstantInputWarning, spearmanr

from device_runtime.state import cues

# Few levels tie nearly everywhere, many nowhere.
LEVELS = st.sampled_from([1, 2, 4, 1000])


@given(st.integers(2, 40), LEVELS, LEVELS, st.integers(2, 50), st.integers(0, 2**32))
def test_omega_is_scipys_spearman_whatever_ties(
    n: int, semantic_levels: int, structural_levels: int, top_l: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    semantic = rng.integers(0, semantic_levels, n).astype(np.float32)
    structural = rng.integers(0, structural_levels, n).astype(np.float32)
    # Of semantic scores that tie at the cut the first stay, as the cloud sent them.
    top = sorted(range(n), key=lambda i: (-semantic[i], i))[:top_l]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        expected = float(spearmanr(semantic[top], structural[top]).statistic)
    found = float(cues.omega(semantic, structural, top_l))
    if np.isnan(expected):  # one side does not vary: nothing can be said
        assert found == 0.0
    else:
        assert found == pytest.approx(expected, abs=1e-12)
        assert -1.0 <= found <= 1.0
