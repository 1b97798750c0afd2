"""How the suite is cut: examples of property tests by tier, tests that share a worker."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings

# Examples of a property test where it names no number of its own: `make test-all`, `make test`.
FULL, QUICK = 100, 25


def examples(full: int) -> int:
    """``full`` under the full Hypothesis profile, under a shorter one its share, five at least."""
    return min(full, max(5, full * settings.default.max_examples // FULL))


def first_quick(cases: Iterable[Any], quick: int = 1) -> list[Any]:
    """Parameters of which all but the first ``quick`` are in the slow tier.

    A tuple is the values of several arguments.
    """
    every = (case if isinstance(case, tuple) else (case,) for case in cases)
    return [
        pytest.param(*values, marks=() if place < quick else pytest.mark.slow)
        for place, values in enumerate(every)
    ]


def keep_together(items: Iterable[pytest.Item]) -> None:
    """Give the tests of a file one worker, so that it makes its fixtures once.

    A group that a test names itself (``xdist_group``) is left as it is: ``model`` for what uses
    the run's text model, ``clock`` for what waits on the wall clock or counts processes.
    """
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(str(item.path)))
