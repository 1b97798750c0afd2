"""CandidateScorer: models whose score of an item is no inner product with a state of the user.

An `Encoder` answers a request with one e_str that scores every item; here history and candidate
meet inside the network, so there is nothing to cache, to retrieve by or to hand to calibration.

Shapes: B batch, L events (oldest first), C candidates, d dim.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from shared.strict import Strict


class ScorerConfig(Strict):
    """Size of a candidate scorer; each kind's own class names and adds to it."""

    kind: str
    dim: int = Field(default=64, ge=2, description="d, length of item vectors")
    window: int = Field(default=50, ge=1, description="most recent events that are read")
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)

    def build(self) -> CandidateScorer:
        """An untrained scorer of this configuration."""
        raise NotImplementedError


class CandidateScorer(nn.Module):
    """(history, candidates) -> scores; the item's own bias is added outside."""

    config: ScorerConfig

    def forward(self, history: Tensor, candidates: Tensor) -> Tensor:
        """Score candidates; this is the graph that is exported.

        Args:
            history: [B, L, d] item vectors, oldest first, 1 <= L <= window. Zero vectors are
                padding: a scorer must take nothing from them.
            candidates: [B, C, d] item vectors.

        Returns:
            [B, C].
        """
        raise NotImplementedError
