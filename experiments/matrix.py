"""Matrix: every scorer against every other one, as differences with names of their own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from pydantic import model_validator

from experiments.selection import Difference, Operand, Scope


class Matrix(Scope):
    """All pairs of some scorers, each computed once all over the scope.

    Attributes:
        scorers: in the order of the table's rows; of a pair the earlier one is the minuend.
    """

    scorers: tuple[str, ...]

    @model_validator(mode="after")
    def _distinct(self) -> Matrix:
        if len(set(self.scorers)) != len(self.scorers) or len(self.scorers) < 2:
            raise ValueError("a matrix needs two scorers at least, each named once")
        return self

    def differences(self) -> Iterator[tuple[str, Difference]]:
        """(name, difference) of each pair."""
        scope = {name: getattr(self, name) for name in Scope.model_fields}
        for a, b in combinations(self.scorers, 2):
            label = f"{a} over {b}"
            one = Difference(label=label, a=Operand(scorer=a), b=Operand(scorer=b), **scope)
            yield pair_name(a, b), one


def pair_name(a: str, b: str) -> str:
    """Of the difference between two scorers."""
    return f"{a}-over-{b}"
