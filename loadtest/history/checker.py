"""The checker: a history against every invariant, in the manner of etcd's robustness tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from loadtest.history import ages, invariants
from loadtest.history.history import Expected, RunHistory, Violation

MOST_PER_RULE = 50

INVARIANTS: Mapping[str, Callable[[RunHistory, Expected], invariants.Found]] = {
    "every request answered": invariants.every_request_answered,
    "reported gap is true": invariants.gap_is_true,
    "versions never go back": invariants.versions_never_go_back,
    "correction is bounded": invariants.correction_is_bounded,
    "snapshots are one's own": invariants.snapshots_are_ones_own,
    "nobody is sent another's": invariants.nobody_is_sent_anothers,
    "ages are true": ages.ages_are_true,
    "nothing expired is served": ages.nothing_expired_is_served,
    "newest snapshot is used": invariants.newest_snapshot_is_used,
    "store is never torn or mixed": invariants.store_is_never_mixed,
    "what is stored expires": invariants.keys_expire,
    "only abstracts leave a device": invariants.only_abstracts_leave,
    "refusals are told": invariants.refusals_are_told,
    "refreshes flow again": invariants.refreshes_flow_again,
}


def check(history: RunHistory, expected: Expected) -> list[Violation]:
    """All violations, in the order of the rules, at most MOST_PER_RULE of each."""
    found = []
    for rule in INVARIANTS.values():
        for count, violation in enumerate(rule(history, expected)):
            if count == MOST_PER_RULE:
                break
            found.append(violation)
    return found
