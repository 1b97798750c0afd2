"""What many robustness runs came to: a line for each, their sum, and its tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError

from loadtest.scenarios.model import Scenario
from loadtest.scenarios.table import Table
from loadtest.scenarios.verdict import Place, ScenarioVerdict
from shared.errors import DataError
from shared.files import write_whole
from shared.strict import Strict

HEAD = "robustness.json"
LINES = "*.jsonl"


class RobustnessHead(Strict):
    """What all runs of a folder share; whoever goes on with it must have the same.

    Attributes:
        seed: of the first run.
        log, bundle_id, embedder: what they ran on.
        revision: commit of the code.
    """

    seed: int
    log: str
    bundle_id: str
    embedder: str
    revision: str | None


class RunLine(Strict):
    """One run.

    Attributes:
        number: which of the variations.
        faults: ``target kind`` of each.
        findings: rules that its history contradicts, and ``unanswered`` requests.
        replayed_s, spent_s: seconds of the replay, and of computing it.
    """

    number: int
    scenario: str
    seed: int
    place: Place
    faults: tuple[str, ...]
    requests: int
    findings: tuple[str, ...]
    replayed_s: float
    spent_s: float

    @classmethod
    def of(
        cls, number: int, scenario: Scenario, verdict: ScenarioVerdict, spent_s: float
    ) -> RunLine:
        """The line of a run that was judged."""
        findings = {violation.rule for violation in verdict.violations}
        if verdict.answered != verdict.due:
            findings.add("unanswered requests")
        return cls(
            number=number,
            scenario=scenario.name,
            seed=scenario.seed,
            place=verdict.place,
            faults=tuple(f"{f.target} {f.kind}" for f in scenario.script().faults),
            requests=verdict.answered,
            findings=tuple(sorted(findings)),
            replayed_s=scenario.duration_s,
            spent_s=round(spent_s, 3),
        )


class RobustnessRecord(Strict):
    """All runs together.

    Attributes:
        runs: by place.
        faults: injected, by ``target kind``.
        findings: ``scenario, seed: rules`` of each run with a history that does not hold.
        replayed_h, spent_h: hours of replay, and of making the runs, added up over processes.
    """

    head: RobustnessHead
    runs: Mapping[str, int]
    scenarios: int
    requests: int
    faults: Mapping[str, int]
    findings: tuple[str, ...]
    replayed_h: float
    spent_h: float

    @classmethod
    def of(cls, head: RobustnessHead, lines: Iterable[RunLine]) -> RobustnessRecord:
        """The sum of all lines."""
        lines = sorted(lines, key=lambda line: (line.place, line.number))
        faults = Counter(fault for line in lines for fault in line.faults)
        return cls(
            head=head,
            runs=dict(sorted(Counter(line.place for line in lines).items())),
            scenarios=len({line.scenario for line in lines}),
            requests=sum(line.requests for line in lines),
            faults=dict(sorted(faults.items())),
            findings=tuple(
                f"{line.scenario}, seed {line.seed}, {line.place}: {', '.join(line.findings)}"
                for line in lines
                if line.findings
            ),
            replayed_h=round(sum(line.replayed_s for line in lines) / 3600, 2),
            spent_h=round(sum(line.spent_s for line in lines) / 3600, 2),
        )


def read_robustness_record(text: str) -> RobustnessRecord:
    """Parse a record; raises DataError."""
    try:
        return RobustnessRecord.model_validate_json(text)
    except ValidationError as error:
        raise DataError(f"not a record of robustness runs: {error}") from error


def read_lines(folder: Path) -> list[RunLine]:
    """All runs a folder knows of, each once.

    A line that an interruption cut short is as if it had not been written. Raises DataError.
    """
    found: dict[tuple[str, int], RunLine] = {}
    for path in sorted(folder.glob(LINES)):
        for number, text in enumerate(path.read_text().splitlines(keepends=True), 1):
            if not text.endswith("\n"):
                break
            try:
                line = RunLine.model_validate_json(text)
            except ValidationError as error:
                raise DataError(f"not a robustness run: {error}", path, number) from error
            found[line.place, line.number] = line
    return list(found.values())


def add_line(path: Path, line: RunLine) -> None:
    """Append to a file of lines, after whatever an interruption left of the last one."""
    text = line.model_dump_json() + "\n"
    if path.exists() and not path.read_bytes().endswith(b"\n"):
        whole = [kept for kept in path.read_text().splitlines(keepends=True) if kept[-1] == "\n"]
        write_whole(path, "".join(whole))
    with path.open("a") as file:
        file.write(text)


def robustness_rows(record: RobustnessRecord) -> Table:
    """The sums: head, rows, caption."""
    runs = ", ".join(f"{count:,} on {place}" for place, count in record.runs.items())
    rows = [
        ("runs", runs),
        ("scenarios they vary", f"{record.scenarios}"),
        ("requests answered", f"{record.requests:,}"),
        ("faults injected", f"{sum(record.faults.values()):,}"),
        ("runs whose history does not hold", f"{len(record.findings):,}"),
        ("hours replayed", f"{record.replayed_h:.1f}"),
        ("hours the runs took, added up", f"{record.spent_h:.2f}"),
    ]
    rows += [("finding", words) for words in record.findings]
    head = record.head
    caption = (
        f"Log {head.log}, embedder {head.embedder}, bundle {head.bundle_id}, code {head.revision}."
    )
    return ("what", "how much"), [tuple(row) for row in rows], caption


def fault_rows(record: RobustnessRecord) -> Table:
    """Faults injected, by target and kind."""
    rows: list[tuple[str, ...]] = []
    for name, count in record.faults.items():
        target, _, kind = name.partition(" ")
        rows.append((target, kind, f"{count:,}"))
    return (
        ("target", "kind", "times"),
        rows,
        "Faults of all runs, those of the scenarios among them.",
    )
