"""Gates: named yes-or-no statements over the figures of a record, per device profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pydantic import model_validator

from experiments.record import Figure, Record
from experiments.selection import Gap, Metric, Part, Steps, read_key, within
from shared.strict import Strict

Require = Literal["above", "below", "not below", "not above"]
Status = Literal["holds", "fails", "not applicable"]


class Check(Strict):
    """A demand on a named difference or ratio.

    Attributes:
        require: "above": the interval lies above zero; "below": under it; "not below" ("not
            above"): it does not lie wholly under (over) zero, so no harm is shown.
        at_least: lowest value that will do.
        quantifier: must all places meet it, or any.
    """

    of: str
    require: Require | None = None
    at_least: float | None = None
    quantifier: Literal["all", "any"] = "all"
    variants: tuple[str, ...] | None = None
    settings: tuple[str, ...] | None = None
    gaps: tuple[Gap, ...] | None = None
    parts: tuple[Part, ...] = ("all",)
    steps: tuple[Steps, ...] = ("last",)
    metrics: tuple[Metric, ...] = ("ndcg10",)

    @model_validator(mode="after")
    def _demands_something(self) -> Check:
        if (self.require is None) == (self.at_least is None):
            raise ValueError("give either require or at_least")
        return self


class Gate(Strict):
    """Checks that must all be met; only asked where the gates in ``only_if`` hold."""

    title: str
    checks: tuple[Check, ...]
    only_if: tuple[str, ...] = ()


class DecidingFigure(NamedTuple):
    """The figure that decides a check (the worst for "all", the best for "any"), and its key."""

    key: str
    figure: Figure
    met: bool


@dataclass(frozen=True)
class GateVerdict:
    """What became of a gate for one log and profile.

    Attributes:
        evidence: one for each check.
        reason: why the gate was not asked.
    """

    status: Status
    evidence: tuple[DecidingFigure, ...] = ()
    reason: str = ""

    @property
    def decisive(self) -> DecidingFigure | None:
        """The first check that is not met; of a gate that holds, its first."""
        broken = [found for found in self.evidence if not found.met]
        return next(iter(broken or self.evidence), None)


def judge(gates: Mapping[str, Gate], record: Record, profile: str) -> dict[str, GateVerdict]:
    """Verdict on every gate for one profile of a log's record, in the gates' order."""
    verdicts: dict[str, GateVerdict] = {}
    for name, gate in gates.items():
        unmet = [other for other in gate.only_if if verdicts[other].status != "holds"]
        if unmet:
            verdicts[name] = GateVerdict("not applicable", reason=f"{', '.join(unmet)} not met")
        else:
            verdicts[name] = _judge(gate, record, profile)
    return verdicts


def _judge(gate: Gate, record: Record, profile: str) -> GateVerdict:
    evidence: list[DecidingFigure] = []
    held = True
    for check in gate.checks:
        found = _figures(check, record, profile)
        if not found:
            return GateVerdict("not applicable", reason=f"no figures of {check.of}")
        met = [meets(check, figure) for _, figure in found]
        held &= all(met) if check.quantifier == "all" else any(met)
        key, figure = _decisive(check, found)
        evidence.append(DecidingFigure(key, figure, meets(check, figure)))
    return GateVerdict("holds" if held else "fails", tuple(evidence))


def meets(check: Check, figure: Figure) -> bool:
    """Does a figure meet the check's demand; one without a value or interval never does."""
    if check.at_least is not None:
        return figure.value is not None and figure.value >= check.at_least
    if figure.low is None or figure.high is None:
        return False
    return {
        "above": figure.low > 0,
        "below": figure.high < 0,
        "not below": figure.high >= 0,
        "not above": figure.low <= 0,
    }[check.require or "above"]


def _figures(check: Check, record: Record, profile: str) -> list[tuple[str, Figure]]:
    figures = {**record.differences, **record.ratios}
    return [(key, figure) for key, figure in figures.items() if _concerns(check, key, profile)]


def _concerns(check: Check, key: str, profile: str) -> bool:
    at = read_key(key)
    return (at["name"], at["profile"]) == (check.of, profile) and within(check, at)


def _decisive(check: Check, found: list[tuple[str, Figure]]) -> tuple[str, Figure]:
    """The figure nearest to breaking an "all", or nearest to making an "any"."""
    downwards = check.require in ("below", "not above")

    def margin(item: tuple[str, Figure]) -> float:
        figure = item[1]
        bound = {
            "above": figure.low,
            "below": figure.high,
            "not below": figure.high,
            "not above": figure.low,
            None: figure.value,
        }[check.require]
        if bound is None:
            return float("-inf")
        return -bound if downwards else bound

    return (min if check.quantifier == "all" else max)(found, key=margin)
