"""Where controlled staleness is scored, by replays and by studies alike."""

from __future__ import annotations

from pydantic import Field, field_validator

from shared.section import Section


class PaperSettings(Section):
    """Controlled staleness, as in SCaLRec section 5: S1 and S2 at fixed gaps."""

    gaps: tuple[int, ...] = Field(
        default=(0, 5, 10, 20), description="ages in events; 0 is always among them"
    )
    steps: int = Field(default=5, ge=1, description="last steps of each user that are scored")
    bootstrap: int = Field(default=2000, ge=100, description="resamples behind an interval")

    @field_validator("gaps")
    @classmethod
    def _with_the_fresh_one(cls, gaps: tuple[int, ...]) -> tuple[int, ...]:
        if any(gap < 0 for gap in gaps):
            raise ValueError("a gap is a number of events, 0 or more")
        return tuple(sorted({0, *gaps}))  # what staleness costs is measured against gap 0
