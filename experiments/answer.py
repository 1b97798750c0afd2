"""What an experiment answers: claims that its records decide."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from experiments.selection import Gap, Metric, Part, Steps
from shared.strict import Strict

ClaimKind = Literal["difference", "ratio", "gate", "frontier", "extra"]
SIGNED: tuple[ClaimKind, ...] = ("difference", "frontier")  # of one ranking over another


class Claim(Strict):
    """A sentence that waits for its figures: one for each log, profile and variant of a record.

    Whether one ranking is better than another, and where, is read from the figures: the words here
    hold none.

    Attributes:
        of: name of the difference, ratio, gate, frontier or extra.
        head: of its column; None: the label of the difference or ratio, and where it stands.
        about: of a difference, what ranks better or worse; of a gate, what it says; of a ratio or
            an extra, what it is. "": a column without a sentence.
        than: of a difference, what that is compared with.
        variants: None for all that have the figure.
        scorer, quantity: of a frontier, for example "gain-010".
    """

    show: ClaimKind = "difference"
    of: str
    head: str | None = None
    about: str = ""
    than: str = ""
    variants: tuple[str, ...] | None = None
    setting: str = ""
    gap: Gap = "5"
    part: Part = "all"
    steps: Steps = "last"
    metric: Metric = "ndcg10"
    scorer: str = ""
    quantity: str = ""

    @model_validator(mode="after")
    def _says_what_its_kind_needs(self) -> Claim:
        lacking = {
            "than": self.show in SIGNED and self.about and not self.than,
            "setting": self.show in ("difference", "ratio") and not self.setting,
            "scorer": self.show == "frontier" and not self.scorer,
            "quantity": self.show == "frontier" and not self.quantity,
            "head": self.show in ("frontier", "extra", "gate") and self.head is None,
        }
        for name, is_lacking in lacking.items():
            if is_lacking:
                raise ValueError(f"the claim about {self.of} needs a {name}")
        return self
