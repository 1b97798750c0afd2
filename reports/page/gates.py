"""What a log's gates say by device profile, as plain data handed to the report, and in sentences.

The experiments judge; the report only shows. So these shapes stand here, below the experiments,
and whoever builds a report fills them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from loadtest.run_info import RunInfo
from reports import text
from reports.page.verdict import HEADLINE_GAP
from reports.summary.model import PaperSection
from shared.profile import DeviceProfile
from shared.statistics import Estimate

Status = Literal["holds", "fails", "not applicable"]
_STALE = {"S1": "its embedding is stale", "S2": "its embedding and candidates are stale"}
_RE_RETRIEVAL = "G5"  # the one gate about something a device may or may not do
_COUNTS = ("users", "items", "interactions")


@dataclass(frozen=True)
class Evidence:
    """The figure that decides one check of a gate.

    Attributes:
        what: the comparison in words.
        where: setting and gap.
        estimate: a difference of NDCG@10, or with ``share`` a ratio of two.
        relative: the difference as a share of what it is compared with.
        against: of a comparison with the best of several, which one that was.
    """

    what: str
    where: str
    estimate: Estimate
    met: bool
    share: bool = False
    relative: float | None = None
    against: str = ""


@dataclass(frozen=True)
class GateVerdict:
    """What became of one gate; ``reason`` says why one was not asked."""

    gate: str
    title: str
    status: Status
    evidence: tuple[Evidence, ...] = ()
    reason: str = ""

    @property
    def decisive(self) -> Evidence | None:
        """The first check that is not met; of a gate that holds, its first."""
        broken = [found for found in self.evidence if not found.met]
        return next(iter(broken or self.evidence), None)


@dataclass(frozen=True)
class Payoff:
    """What a snapshot ``gap`` events old costs and calibration wins back, in NDCG@10."""

    setting: str
    gap: int
    loss: Estimate
    bought_back: Estimate
    recovered: Estimate
    over_structure: Estimate


@dataclass(frozen=True)
class GapScore:
    """NDCG@10 of one scorer ("calibrated", "uncalibrated", "structure") at one gap."""

    setting: str
    gap: int
    scorer: str
    estimate: Estimate


@dataclass(frozen=True)
class DeviceGates:
    """One device profile: its verdicts, its pay-offs, its scores by gap."""

    profile: str
    seeds: int
    verdicts: tuple[GateVerdict, ...]
    payoffs: tuple[Payoff, ...]
    scores: tuple[GapScore, ...]

    @property
    def headline(self) -> tuple[Payoff, ...]:
        """Per setting the pay-off at the gap that stands for all: 5, else the smallest above 0."""
        chosen: dict[str, Payoff] = {}
        for found in sorted(self.payoffs, key=lambda p: (p.gap != HEADLINE_GAP, p.gap)):
            if found.gap > 0:
                chosen.setdefault(found.setting, found)
        return tuple(sorted(chosen.values(), key=lambda p: p.setting))


@dataclass(frozen=True)
class GateRecord:
    """All profiles of one log.

    Attributes:
        description: the log the record was made of, in words (InteractionLog.describe).
        command: what makes the record anew.
        planned: seeds the experiment asks for.
        draws: bootstrap resamples of users behind each interval.
        steps: last steps of each user that were scored; None if the record does not say.
        text_model: behind the semantic channel; "" if the record does not say.
    """

    log: str
    description: dict[str, str]
    command: str
    repeat_policy: str
    planned: int
    draws: int
    steps: int | None
    text_model: str
    devices: tuple[DeviceGates, ...]

    def device(self, profile: str) -> DeviceGates | None:
        return next((d for d in self.devices if d.profile == profile), None)


@dataclass(frozen=True)
class NoGateRecord:
    """Nothing to show for this log: what would make it, and why a record found was refused."""

    log: str
    command: str
    problem: str = ""


def lead(record: GateRecord, profile: str) -> str:
    """How many gates hold for the run's device, and which fail."""
    device = record.device(profile)
    if device is None:
        known = ", ".join(d.profile for d in record.devices)
        return (
            f"This run’s device profile, {profile}, is none of those the gates were judged for "
            f"({known}); “scalrec advise” answers for a device of your own."
        )
    asked = [v for v in device.verdicts if v.status != "not applicable"]
    failed = [v.gate for v in asked if v.status == "fails"]
    said = f"On {record.log}, a {profile} device meets {len(asked) - len(failed)} of the "
    said += f"{len(asked)} gates that could be asked"
    return f"{said}; {joined(failed)} {_fail(failed)}." if failed else f"{said}; none fails."


def payoffs(device: DeviceGates) -> list[str]:
    """What staleness costs the device and calibration buys back, a sentence per setting."""
    return [
        f"With a snapshot {found.gap} events old, {found.setting} "
        f"({_STALE.get(found.setting, 'stale')}), staleness costs {_told_apart(found.loss)} of "
        f"NDCG@10 and calibration buys back {_told_apart(found.bought_back)}."
        for found in device.headline
    ]


def unused(device: DeviceGates, profile: DeviceProfile) -> str:
    """What the run’s device leaves out though its gate holds, as a sentence; "" if nothing."""
    if profile.table == "none" or profile.local_candidates:
        return ""
    found = next((v for v in device.verdicts if v.gate == _RE_RETRIEVAL), None)
    if found is None or found.status != "holds" or found.decisive is None:
        return ""
    gain = _told_apart(found.decisive.estimate)
    return (
        f"{found.gate} holds, but this run’s device re-retrieves nothing from its own table: "
        f"profile.local_candidates, as of the full device, adds at least {gain} of NDCG@10 at the "
        "gaps it was judged at, where candidates are stale."
    )


def failures(record: GateRecord, profile: str) -> list[GateVerdict]:
    """The gates that the run's device does not meet."""
    device = record.device(profile)
    return [] if device is None else [v for v in device.verdicts if v.status == "fails"]


def caveats(record: GateRecord, run: RunInfo) -> list[str]:
    """Where the record and the run are not of the same thing."""
    said = []
    here, there = (tuple(d.get(k, "?") for k in _COUNTS) for d in (run.log, record.description))
    if here != there:
        said.append(
            "The gates were judged on {} users, {} items and {} interactions, ".format(*there)
            + "this run’s log has {}, {} and {}.".format(*here)
        )
    if record.text_model and record.text_model != run.embedder.model:
        said.append(
            f"The gates were judged with the text model {record.text_model}, this run used "
            f"{run.embedder.model}."
        )
    if record.repeat_policy != run.repeat_policy:
        said.append(
            f"The gates were judged under the repeat policy {record.repeat_policy}, this run "
            f"followed {run.repeat_policy}."
        )
    return said


def of_this_run(paper: PaperSection) -> str:
    """What the run's own gaps say, where no gates have been judged."""
    rows = paper.staleness
    cost = sum(row.loss.sign > 0 for row in rows)
    won, lost = (sum(row.bought_back.sign == s for row in rows) for s in (1, -1))
    return (
        f"This run alone, one seed of one device: at {len(rows)} pairs of setting and gap, "
        f"staleness cost something at {cost}, calibration won something back at {won} and lost "
        f"something at {lost}; elsewhere the interval includes zero."
    )


def joined(words: Sequence[str]) -> str:
    """``A``, ``A and B``, ``A, B and C``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _told_apart(estimate: Estimate) -> str:
    if estimate.value is None:
        return "an unmeasured amount"
    shown = f"{text.signed(estimate.value)} {text.interval(estimate, with_sign=True)}".strip()
    return shown if estimate.sign else f"nothing told apart from zero ({shown})"


def _fail(names: Sequence[str]) -> str:
    return "fails" if len(names) == 1 else "fail"
