"""Figures as text: the same number looks the same in cards, sentences, tables and documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.replay.profile_figures import ProfileFigures
from reports.summary.model import Cost, RunScope
from shared.statistics import Estimate

NONE = "–"
NBSP = "\u00a0"  # keeps a figure and its unit, and both ends of an interval, on one line


@dataclass(frozen=True)
class Style:
    """How a medium writes numbers.

    Attributes:
        minus: before negative ones.
        space: within an interval, and before a unit.
        zero: the sign of a difference that rounds to zero.
    """

    minus: str
    space: str
    zero: str


PAGE = Style(minus="−", space=NBSP, zero="")
MARKDOWN = Style(minus="-", space=" ", zero="+")
BACKENDS = {"vllm": "vLLM", "transformers": "transformers", "hashing": "hashing"}


def backend(name: str) -> str:
    """An embedder back end by its proper name."""
    return BACKENDS.get(name, name)


def split_told(trained_after: float | None, kind: str = "user") -> str:
    """How requests were held out, and how much training knew of what came after them.

    Args:
        trained_after: see ``shared.split.trained_after``.
        kind: ``training.split``.
    """
    if kind == "global":
        return (
            "at one instant: nothing that anybody did from then on was trained on, and each "
            "user's first events after it are held out"
        )
    told = "by user: each user's last events are held out, at a time of their own"
    if trained_after is None:
        return told
    return (
        f"{told}, so models have learned from what others did later; "
        f"{percent(trained_after, 1)} of training events lie after the request they are used for"
    )


def joined(words: Sequence[str], by: str = "and") -> str:
    """``A``, ``A and B``, ``A, B and C``."""
    *first, last = words
    return f"{', '.join(first)} {by} {last}" if first else last


def score(value: float | None, digits: int = 4) -> str:
    """A metric between 0 and 1, or a share of two."""
    return NONE if value is None else f"{value:.{digits}f}"


def signed(value: float | None, *, style: Style = PAGE) -> str:
    """A difference of metrics, always with its sign."""
    if value is None:
        return NONE
    size = f"{abs(value):.4f}"
    sign = style.zero if float(size) == 0 else "+" if value > 0 else style.minus
    return f"{sign}{size}"


def interval(
    estimate: Estimate, *, with_sign: bool = False, digits: int = 4, style: Style = PAGE
) -> str:
    """The interval in brackets, "" if there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    low, high = (
        signed(end, style=style) if with_sign else score(end, digits)
        for end in (estimate.low, estimate.high)
    )
    return f"[{low},{style.space}{high}]"


def measured(estimate: Estimate, digits: int = 4, *, style: Style = PAGE) -> str:
    """A metric with its interval."""
    shown = interval(estimate, digits=digits, style=style) if estimate.value is not None else ""
    return f"{score(estimate.value, digits)} {shown}".strip()


def difference(estimate: Estimate, *, style: Style = PAGE) -> str:
    """A difference of metrics with its interval."""
    shown = interval(estimate, with_sign=True, style=style)
    return f"{signed(estimate.value, style=style)} {shown}".strip()


def percent(
    value: float | None, digits: int = 0, *, sign: bool = False, style: Style = PAGE
) -> str:
    """A share."""
    if value is None:
        return NONE
    shown = f"{100 * value:{'+' if sign else ''}.{digits}f}{style.space}%"
    return shown.replace("-", style.minus)


def saved(share: float | None) -> str:
    """The share of calls a policy saved, or that nothing can be said of it."""
    return "savings not known" if share is None else f"{percent(share)} saved"


def percent_interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{percent(estimate.low)},{NBSP}{percent(estimate.high)}]"


def kib(size: int) -> str:
    """Bytes as KiB."""
    return f"{size / 1024:,.1f}{NBSP}KiB"


def device_figures(found: ProfileFigures) -> str:
    """What one device downloads, holds and takes, in a sentence."""
    page = f", {found.page} bytes with each item page" if found.page else ""
    return (
        f"downloads {kib(found.download_total)} once, {kib(found.snapshot)} per snapshot{page}; "
        f"holds {kib(found.model)} of models and {kib(found.state)} of its own; answers in "
        f"{found.request_p50_us:,.0f}{NBSP}µs (p95 {found.request_p95_us:,.0f})"
    )


def number(value: float | None, digits: int = 2) -> str:
    """A plain quantity."""
    return NONE if value is None else f"{value:,.{digits}f}".replace("-", PAGE.minus)


def cost(spent: Cost | None) -> str:
    """Calls, tokens and money per 1,000 requests."""
    if spent is None:
        return NONE
    about = "about " if spent.tokens_estimated and spent.tokens else ""
    gpu = f", {spent.gpu_seconds:,.1f} GPU seconds" if spent.gpu_seconds else ""
    return (
        f"{spent.calls:,.1f} abstracts embedded, {about}{spent.tokens:,.0f} tokens{gpu}, "
        f"{spent.money:,.4g} {spent.currency}"
    )


def milliseconds(value: float | None) -> str:
    """Three significant digits above a millisecond, two decimals below."""
    if value is None:
        return NONE
    return f"{value:,.2f}" if value < 10 else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def seconds(value: float) -> str:
    """A duration people can read."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def size(count: float) -> str:
    """Bytes in decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"


def scope(scope: RunScope) -> str:
    """What a table covers: mode, users, steps, repeat policy, N and half-life."""
    mode = {
        "paper": f"Paper mode: ranks within the cloud's N = {scope.candidates} candidates",
        "full": "Full ranking of the whole catalogue at gap 0",
        "system": f"System mode: ranks within what the device can rank (N = {scope.candidates} "
        "cloud candidates, own history as the profile says), baselines over the whole catalogue",
    }[scope.mode]
    repeats = {
        "allow": "items already seen compete",
        "exclude": "items already seen are left out",
    }.get(scope.repeat_policy, scope.repeat_policy)
    return (
        f"{mode}; {scope.requests:,} requests of {scope.users:,} users (at most "
        f"{scope.steps_per_user} each); repeat policy {scope.repeat_policy}: {repeats}; "
        f"half-life of the decayed frequency {scope.half_life:g} events; brackets: 95 % intervals, "
        f"bootstrap over users, {scope.draws:,} draws."
    )
