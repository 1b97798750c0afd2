"""TextMap: what an item's text says of its semantic vector."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class TextMap:
    """What an item's text says of its semantic vector.

    Attributes:
        weight: [m, d] and bias: [d], of texts as the text model embeds them.
        pull: c; 0: no vector is changed.
    """

    weight: Tensor
    bias: Tensor
    pull: float = 0.0

    def of(self, text: Tensor) -> Tensor:
        """[n, d] for texts [n, m]."""
        return text @ self.weight + self.bias

    def pulled(self, vectors: Tensor, text: Tensor, counts: Tensor) -> Tensor:
        """[n, d] the vectors of n items, drawn to what their texts say.

        Args:
            vectors: [n, d] as learned. text: [n, m]. counts: [n] training events.
        """
        if not self.pull:
            return vectors
        share = self.pull / (self.pull + counts)
        return vectors + share[:, None] * (self.of(text) - vectors)
