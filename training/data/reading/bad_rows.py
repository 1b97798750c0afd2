"""What to do with rows that cannot be used: refuse the first, or skip a few and list them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from shared.errors import DataError

MOST = 0.01  # share of a file's rows that may be skipped
WRONG_COLUMN = 0.1  # share from which on it is not the rows that are wrong
LISTED = 5

Policy = Literal["refuse", "skip"]


@dataclass
class BadRows:
    """The rows of one log that were bad so far.

    Attributes:
        policy: refuse: the first bad row is an error; skip: they are left out, up to MOST.
        offered: whether the policy is a setting for this file, which errors then name.
        skipped: how many were. listed: the first of them, in words.
    """

    policy: Policy = "refuse"
    offered: bool = False
    skipped: int = 0
    listed: list[str] = field(default_factory=list)

    @property
    def skipping(self) -> bool:
        return self.policy == "skip"

    def refusal(self, message: str, found: int = 1, rows: int | None = None) -> str:
        """Of the first bad row's message an error that says what to do.

        Args:
            found: rows that are bad in this way; rows: of the file, None if not known.
        """
        if rows is not None and found >= max(2, WRONG_COLUMN * rows):
            return f"{message}. So it is in {found:,} of {rows:,} rows: is it the right column?"
        if not self.offered:
            return message
        if rows is not None and found > MOST * rows:
            return (
                f"{message}. So it is in {found:,} of {rows:,} rows: mend them (at 1 % or less, "
                "log.bad_rows=skip would leave them out)"
            )
        return f"{message} (--set log.bad_rows=skip leaves out up to 1 % of rows like this one)"

    def leave_out(self, path: Path, messages: dict[int, str], rows: int) -> None:
        """Count the bad rows of one file.

        Args:
            messages: what is wrong, by line.
            rows: of the file, bad ones included.

        Raises:
            DataError: they are more than may be skipped; names the first.
        """
        if not messages:
            return
        line = min(messages)
        self.refuse_many(path, line, messages[line], len(messages), rows)
        self.skipped += len(messages)
        for line in sorted(messages)[: LISTED - len(self.listed)]:
            self.listed.append(f"{path.name}, line {line}: {messages[line]}")

    def refuse_many(self, path: Path, line: int, message: str, found: int, rows: int) -> None:
        """Raise DataError with the first bad row's message if more are bad than may be skipped."""
        if found > MOST * rows:
            raise DataError(
                f"{message}. {found:,} of its {rows:,} rows are bad, more than the {MOST:.0%} that "
                "log.bad_rows=skip leaves out",
                path,
                line,
            )

    def notes(self) -> tuple[str, ...]:
        """One sentence if any was left out."""
        if not self.skipped:
            return ()
        more = "; ..." if self.skipped > len(self.listed) else ""
        return (f"{self.skipped:,} bad rows skipped: {'; '.join(self.listed)}{more}",)
