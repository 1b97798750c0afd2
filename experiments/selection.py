"""What a table speaks about: scores, differences between two scores, and ratios of those."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from shared.strict import Strict

Part = Literal[
    "all",
    "return",
    "discovery",
    "trained_0",
    "trained_1_5",
    "trained_6_20",
    "trained_21_100",
    "trained_over_100",
]
PARTS: tuple[Part, ...] = get_args(Part)
STRATA = PARTS[3:]  # of the target's training count: 0, up to and including 5, 20, 100, and above
METRICS = ("ndcg10", "ndcg5", "hr10", "hr5")
# What some studies score beside them; precision of one target is the hit rate over the cutoff.
LONGER = ("ndcg20", "hr20", "precision5", "precision10", "precision20")
COUNTS = ("calls", "served")  # of a request: attempts to refresh, and those that succeeded
MEAN_GAP = "mean"  # the average over all gaps above 0

Steps = Literal["last", "loo"]
Metric = Literal[
    "ndcg10",
    "ndcg5",
    "hr10",
    "hr5",
    "ndcg20",
    "hr20",
    "precision5",
    "precision10",
    "precision20",
    "calls",
    "served",
]
# A gap is a number of events in the scores and in YAML, and text wherever it is a key.
Gap = Annotated[str, BeforeValidator(str), Field(pattern=r"^(\d+|mean)$")]


class Scope(Strict):
    """Where something is computed; None means everywhere there are scores.

    Attributes:
        gaps: ages in events, "mean" for the average over all above 0.
        steps: "last" for the last ``paper.steps`` steps of each user, "loo" for the very last one.
    """

    profiles: tuple[str, ...] | None = None
    variants: tuple[str, ...] | None = None
    settings: tuple[str, ...] | None = None
    gaps: tuple[Gap, ...] | None = None
    parts: tuple[Part, ...] = ("all",)
    steps: tuple[Steps, ...] = ("last",)
    metrics: tuple[Metric, ...] = ("ndcg10",)


class ScoreSelection(Scope):
    """Scores that the record keeps."""

    scorers: tuple[str, ...] | None = None


class Operand(Strict):
    """One side of a difference; what it leaves open is that of the place it is computed at.

    Attributes:
        best_of: the scorer of these with the highest mean at that place, whichever it is.
    """

    scorer: str | None = None
    best_of: tuple[str, ...] = ()
    profile: str | None = None
    variant: str | None = None
    setting: str | None = None
    gap: Gap | None = None

    @model_validator(mode="after")
    def _names_scorers_once(self) -> Operand:
        if (self.scorer is None) == (not self.best_of):
            raise ValueError("give either scorer or best_of")
        return self

    @property
    def scorers(self) -> tuple[str, ...]:
        return self.best_of or (str(self.scorer),)


class Contrast(Strict):
    """a - b on the same users and steps."""

    a: Operand
    b: Operand


class Difference(Contrast, Scope):
    """A contrast with a name, computed all over its scope."""

    label: str

    def between(self) -> Contrast:
        return Contrast(a=self.a, b=self.b)


class Ratio(Scope):
    """numerator / denominator, for example the share of a loss that was won back.

    It has no value where the denominator's interval includes zero or lies below it: a share of
    nothing means nothing.
    """

    label: str
    numerator: Contrast
    denominator: Contrast


class Place(Strict):
    """One point of a scope."""

    profile: str
    variant: str
    setting: str
    gap: Gap
    part: Part = "all"
    steps: Steps = "last"
    metric: Metric = "ndcg10"

    def of(self, operand: Operand, scorer: str) -> Selector:
        """The score an operand means here."""
        given = {
            name: value
            for name in ("profile", "variant", "setting", "gap")
            if (value := getattr(operand, name)) is not None
        }
        return Selector(**(self.model_dump() | given), scorer=scorer)

    def key(self, name: str) -> str:
        """Key of a named quantity here, in a record."""
        parts = (self.profile, self.variant, name, self.setting, self.gap)
        return "/".join((*parts, self.part, self.steps, self.metric))


class Selector(Place):
    """One score at one place."""

    scorer: str


# Dimensions of a key, and the field of a scope that limits each.
_LIMITS = {
    "profile": "profiles",
    "variant": "variants",
    "name": "names",
    "setting": "settings",
    "gap": "gaps",
    "part": "parts",
    "steps": "steps",
    "metric": "metrics",
}


def read_key(key: str) -> dict[str, str]:
    """The dimensions in a record's key; ``name`` is the scorer or the quantity's name."""
    return dict(zip(_LIMITS, key.split("/"), strict=True))


def within(scope: BaseModel, at: Mapping[str, str]) -> bool:
    """Whether a place lies in what ``scope`` limits; a limit it does not have allows everything."""
    limits = ((value, getattr(scope, _LIMITS[name], None)) for name, value in at.items())
    return all(allowed is None or value in allowed for value, allowed in limits)


def gap_order(gap: str) -> tuple[int, int]:
    """Sort key: numbers by size, then the mean."""
    return (1, 0) if gap == MEAN_GAP else (0, int(gap))
