import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_runtime.state import cues
from device_runtime.state.cues import Agreement

scores = st.lists(st.integers(-4, 4), min_size=0, max_size=30)


@given(scores, st.integers(0, 2**32), st.booleans())
def test_it_is_omega_with_and_without_ties(semantic, seed, ties):
    rng, n = np.random.default_rng(seed), len(semantic)
    structural = rng.integers(-3, 4, n) if ties else rng.permutation(n)
    a, b = np.array(semantic, np.float32), structural.astype(np.float32)
    expected = float(cues.omega(a, b, max(n, 1)))
    assert Agreement(a).with_scores(b) == pytest.approx(expected, abs=1e-12)


def test_full_agreement_is_one_exactly():
    scores = np.array([0.3, 0.1, 0.9, 0.5], np.float32)
    assert Agreement(scores).with_scores(scores * 5 - 1) == pytest.approx(1.0)
    assert Agreement(scores).with_scores(-scores) == pytest.approx(-1.0)
