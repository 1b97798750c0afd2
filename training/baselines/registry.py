"""The methods of other papers that are compared, by the name that records and pages give them."""

from __future__ import annotations

from collections.abc import Mapping

from training.baselines.base import Baseline

BASELINES: Mapping[str, Baseline] = {}
