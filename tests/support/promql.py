"""Metrics and labels that a PromQL expression names, for checks without a Prometheus."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Words that may stand where a metric's name could, and are none.
_FUNCTIONS = frozenset(
    re.findall(
        r"\w+",
        """
        sum avg min max count group stddev stdvar topk bottomk quantile count_values rate irate
        increase delta deriv histogram_quantile absent clamp_min clamp_max label_replace time vector
        scalar by without on ignoring group_left group_right and or unless bool offset le
        """,
    )
)
_SELECTOR = re.compile(r"(?<![\w.])([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^}]*\})?")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_RANGE = re.compile(r"\[[^\]]*\]")


@dataclass(frozen=True)
class Queried:
    """What an expression asks for.

    Attributes:
        metrics: names of series, with the labels that their matchers name.
        grouped_by: labels that results are grouped by.
    """

    metrics: dict[str, frozenset[str]]
    grouped_by: frozenset[str]


def queried(expression: str) -> Queried:
    """Names in an expression of the kind our dashboards and alerts hold."""
    bare = _STRING.sub('""', expression)
    groups = {name.strip() for text in _GROUPING.findall(bare) for name in text.split(",")}
    bare = _RANGE.sub("", _GROUPING.sub(" ", bare))
    metrics: dict[str, frozenset[str]] = {}
    for name, matchers in _SELECTOR.findall(bare):
        if name not in _FUNCTIONS:
            labels = frozenset(re.findall(r"([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)", matchers))
            metrics[name] = metrics.get(name, frozenset()) | labels
    return Queried(metrics, frozenset(groups - {""}))
