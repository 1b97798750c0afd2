"""The answer as a drawing, where an experiment has no chart of its own: a dot for each place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from experiments.record import Record
from experiments.spec import Experiment
from reports.experiments.frame import as_svg, faceted
from reports.experiments.outcomes import head, outcomes
from reports.names import log_name

_WIDTH, _STEP = 400, 22
_PER_LETTER = 7.2  # pixels
_COLOUR, _ZERO = "#2f81f7", "#8b949e"


def answer_svg(experiment: Experiment, records: Sequence[Record]) -> str | None:
    """A panel for each claim that has figures, with their intervals; None where none has."""
    rows = _rows(experiment, records)
    if not rows:
        return None
    order = list(dict.fromkeys(row["place"] for row in rows))
    # Browsers may set names in a wider font than the one they were measured in.
    room = round(_PER_LETTER * max(map(len, order)))
    y = alt.Y("place:N", title=None, sort=order, axis=alt.Axis(grid=True, minExtent=room))
    scale, axis = alt.Scale(zero=True, nice=True), alt.Axis(tickCount=4, grid=False)
    base = alt.Chart().encode(y=y)
    interval = base.mark_rule(color=_COLOUR, strokeWidth=2, opacity=0.6).encode(
        x=alt.X("low:Q", title=None, scale=scale, axis=axis), x2="high:Q"
    )
    dot = base.mark_point(filled=True, size=60, color=_COLOUR, opacity=1).encode(
        x=alt.X("value:Q", title=None, scale=scale, axis=axis)
    )
    zero = alt.Chart().mark_rule(color=_ZERO, strokeDash=[4, 4]).encode(x=alt.datum(0))
    panels = faceted(
        zero, interval, dot, rows=rows, columns=1, width=_WIDTH, height=alt.Step(_STEP)
    )
    return as_svg(panels.resolve_scale(x="independent", y="independent"))


def answer_words(experiment: Experiment, records: Sequence[Record]) -> str:
    """The drawing in words: what each panel shows; its figures are those of the table."""
    panels = dict.fromkeys(row["panel"] for row in _rows(experiment, records))
    return "The figures of the table with their intervals: " + "; ".join(panels)


def _rows(experiment: Experiment, records: Sequence[Record]) -> list[dict[str, Any]]:
    rows = []
    profiles = {profile for record in records for profile in record.profiles}
    for claim in experiment.answer:
        for one in outcomes(claim, experiment, records):
            if one.figure is not None:
                spot = one.spot
                log = log_name(spot.log) if len(records) > 1 or not spot.variant else ""
                words = (log, spot.profile if len(profiles) > 1 else "", spot.variant)
                place = ", ".join(word for word in words if word)
                drawn = {name: one.figure.row()[name] for name in ("value", "low", "high")}
                rows.append({"panel": head(claim, experiment), "place": place, **drawn})
    return rows
