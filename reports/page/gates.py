"""What a log's gates say of the device of a run, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.replay.run_info import RunInfo
from reports import text
from reports.page.judged import JudgedRecord
from reports.summary.model import PaperSection
from reports.text import joined
from shared.profile import DeviceProfile
from shared.statistics import Estimate

_STALE = {
    "S1": "its embedding is stale",
    "S2": "its embedding and candidates are stale",
    "device": "as this device ranks",
}
_RE_RETRIEVAL = "G5"  # the one gate about something a device may or may not do
_COUNTS = ("users", "items", "interactions")


def lead(judged: JudgedRecord, profile: str) -> str:
    """How many gates hold for the run's device, and which fail."""
    if profile not in judged.verdicts:
        return (
            f"This run’s device profile, {profile}, is none of those the gates were judged for "
            f"({', '.join(judged.verdicts)}); “scalrec advise” answers for a device of your own."
        )
    verdicts = judged.verdicts[profile].values()
    asked = sum(verdict.status != "not applicable" for verdict in verdicts)
    failed = failures(judged, profile)
    said = f"On {judged.record.log}, a {profile} device meets {asked - len(failed)} of the "
    said += f"{asked} gates that could be asked"
    return f"{said}; {joined(failed)} {_fail(failed)}." if failed else f"{said}; none fails."


def payoffs(judged: JudgedRecord, profile: str) -> list[str]:
    """What staleness costs the device and calibration buys back, a sentence per setting."""
    return [
        f"With a snapshot {gap} events old, {setting} "
        f"({_STALE.get(setting, 'stale')}), staleness costs "
        f"{_significant(judged.loss(profile, setting, gap))} of NDCG@10 and calibration buys back "
        f"{_significant(judged.named(profile, setting, gap, 'calibration'))}."
        for setting, gap in judged.headline(profile)
    ]


def unused(judged: JudgedRecord, profile: DeviceProfile) -> str:
    """What the run’s device leaves out though its gate holds, as a sentence; "" if nothing."""
    if profile.table == "none" or profile.local_candidates:
        return ""
    found = judged.verdicts.get(profile.name, {}).get(_RE_RETRIEVAL)
    if found is None or found.status != "holds" or found.decisive is None:
        return ""
    gain = _significant(found.decisive.figure)
    return (
        f"{_RE_RETRIEVAL} holds, but this run’s device re-retrieves nothing from its own table: "
        f"profile.local_candidates, as of the full device, adds at least {gain} of NDCG@10 at the "
        "gaps it was judged at, where candidates are stale."
    )


def failures(judged: JudgedRecord, profile: str) -> list[str]:
    """The gates that the run's device does not meet."""
    found = judged.verdicts.get(profile, {})
    return [gate for gate, verdict in found.items() if verdict.status == "fails"]


def caveats(judged: JudgedRecord, run: RunInfo) -> list[str]:
    """Where the record and the run are not of the same thing."""
    said, record = [], judged.record
    model = str(record.settings.get("embedder", {}).get("model", ""))
    here, there = (tuple(d.get(k, "?") for k in _COUNTS) for d in (run.log, record.description))
    if here != there:
        said.append(
            "The gates were judged on {} users, {} items and {} interactions, ".format(*there)
            + "this run’s log has {}, {} and {}.".format(*here)
        )
    if model and model != run.embedder.model:
        said.append(
            f"The gates were judged with the text model {model}, this run used "
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


def _significant(estimate: Estimate) -> str:
    if estimate.value is None:
        return "an unmeasured amount"
    shown = text.difference(estimate)
    return shown if estimate.sign else f"nothing significant ({shown})"


def _fail(names: Sequence[str]) -> str:
    return "fails" if len(names) == 1 else "fail"
