"""A device's own re-training in numpy against the same steps by torch's autograd."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.timing import BenchmarkLine, interleaved
from device_runtime.ranking.adaptation import adapted
from training.collaboration.adaptive import ADAPTIVE_STEPS, ADAPTIVE_TRANSITIONS
from training.settings import Lsc4recSettings

RATE = 0.1


def compare_adaptation(dim: int, settings: Lsc4recSettings) -> list[BenchmarkLine]:
    """Time one adaptive re-training (LSC4Rec eq. 7) and moving one state by it, on one thread."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    count = ADAPTIVE_TRANSITIONS
    states = rng.standard_normal((count, dim), dtype=np.float32)
    vectors = rng.standard_normal((settings.longest + count, dim), dtype=np.float32)
    bias = rng.standard_normal(len(vectors)).astype(np.float32)
    target = settings.longest + np.arange(count)
    given = [torch.from_numpy(array).double() for array in (states, vectors, bias)]

    def ours() -> object:
        residual = adapted(states, vectors, bias, target, rate=RATE, steps=ADAPTIVE_STEPS)
        return residual.moved(states[-1])

    def theirs() -> object:
        asked, among, offset = given
        residual = torch.zeros(dim, dim, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.SGD([residual], lr=RATE / float((asked**2).sum(1).mean()))
        for _ in range(ADAPTIVE_STEPS):
            logits = (asked + asked @ residual.T) @ among.T + offset
            loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(target))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return residual.detach()

    name = "adaptive re-training on the device, numpy / torch autograd"
    return [BenchmarkLine.timed(name, interleaved(ours, theirs), "lower")]
