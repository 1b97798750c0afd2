"""What seeded defects came to: which were caught, and by what."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from shared.errors import DataError
from shared.strict import Strict


class MutationOutcome(Strict):
    """One seeded defect.

    Attributes:
        name: what was broken, in words.
        file: where.
        caught_by: names of the checks that failed; none is a defect nobody would have noticed.
    """

    name: str
    file: str
    caught_by: tuple[str, ...]


class MutationRecord(Strict):
    """All defects, each alone in a copy of the code.

    Attributes:
        revision: commit of the code.
        checks: what each copy had to pass, by name; the value says what it is.
    """

    revision: str | None
    checks: dict[str, str]
    outcomes: tuple[MutationOutcome, ...]

    def over(self, older: MutationRecord, names: Sequence[str]) -> MutationRecord:
        """This record, with the outcomes it lacks from an older one; in the order of ``names``."""
        known = {one.name: one for one in (*older.outcomes, *self.outcomes)}
        kept = tuple(known[name] for name in names if name in known)
        return self.model_copy(update={"outcomes": kept})


def read_mutation_record(text: str) -> MutationRecord:
    """Parse a record; raises DataError."""
    try:
        return MutationRecord.model_validate_json(text)
    except ValidationError as error:
        raise DataError(f"not a record of seeded defects: {error}") from error


def mutation_rows(
    record: MutationRecord,
) -> tuple[tuple[str, ...], list[tuple[str, ...]], str]:
    """One row per defect: head, rows, caption."""
    rows: list[tuple[str, ...]] = [
        (one.name, f"`{one.file}`", ", ".join(one.caught_by) or "**nothing**")
        for one in record.outcomes
    ]
    checks = "; ".join(f"{name}: {what}" for name, what in record.checks.items())
    return ("seeded defect", "where", "caught by"), rows, f"Checks. {checks}."
