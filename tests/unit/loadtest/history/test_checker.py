"""The checker is content with a true history, and catches every way in which one can be false."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from loadtest.faults.fault import Fault
from loadtest.history import invariants
from loadtest.history.checker import INVARIANTS, MOST_PER_RULE, check
from loadtest.history.history import Expected, RunHistory, read_history
from loadtest.history.watch import is_clean
from loadtest.scenarios.load import load_scenario
from loadtest.scenarios.page import write_page
from tests.support.scenarios import run_virtually, tiny_run


@pytest.fixture(scope="module")
def true_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunHistory, Expected]:
    """A run with outages, data loss and refusals, and what it is held against."""
    folder = tmp_path_factory.mktemp("history")
    faults = [
        Fault(target="cloud-link", kind="cut", at_s=10, for_s=8),
        Fault(target="redis", kind="restart", at_s=25, for_s=4),
        Fault(target="embedder-link", kind="cut", at_s=24, for_s=8),
    ]
    scenario = load_scenario("steady").changed(
        users=60, device={"policy": "every-k", "k": 2}, faults=[f.model_dump() for f in faults]
    )
    verdict = run_virtually(folder, scenario)
    assert verdict.passed
    assert verdict.refused > 0
    history = read_history(folder / "run")
    run = tiny_run(folder / "again", scenario)
    counts = dict(history.requests.group_by("user").len().iter_rows())
    manifest = run.bundle.manifest
    expected = Expected(
        due=counts,
        bundle_id=run.bundle.id,
        gamma_max=manifest.calibration.gamma_max,
        deadline_s=5.0,
        breaker_open_s=5.0,
        quiet=tuple(run.script.quiet_after()),
        ttl_s=60.0,
    )
    return folder / "run", history, expected


def test_a_true_history_is_accepted(true_run: tuple[Path, RunHistory, Expected]) -> None:
    _, history, expected = true_run
    assert len(history.requests) == 10 * history.requests["user"].n_unique() >= 400
    assert min(map(len, (history.refreshes, history.attempts, history.writes))) > 100
    assert check(history, expected) == []


def edit(frame: pl.DataFrame, row: int, **values: object) -> pl.DataFrame:
    """``frame`` with other values in one row."""
    place = pl.int_range(pl.len()) == row
    return frame.with_columns(
        pl.when(place).then(pl.lit(value, frame.schema[name])).otherwise(pl.col(name)).alias(name)
        for name, value in values.items()
    )


def find(frame: pl.DataFrame, which: pl.Expr) -> int:
    """Place of the first row that matches."""
    return int(frame.with_row_index("_place").filter(which)["_place"][0])


USED = pl.col("source") == "snapshot"


def drop_request(h: RunHistory) -> RunHistory:
    return replace(h, requests=h.requests[1:])


def false_gap(h: RunHistory) -> RunHistory:
    row = find(h.requests, USED)
    return replace(h, requests=edit(h.requests, row, delta=h.requests["delta"][row] + 1))


def gap_without_snapshot(h: RunHistory) -> RunHistory:
    row = find(h.requests, USED)
    return replace(h, requests=edit(h.requests, row, source="local"))


def older_version(h: RunHistory) -> RunHistory:
    user = h.requests["user"][0]
    last = h.requests.with_row_index("_n").filter((pl.col("user") == user) & USED)["_n"][-1]
    return replace(h, requests=edit(h.requests, last, snapshot_version=1))


def refresh_back(h: RunHistory) -> RunHistory:
    last = h.refreshes.with_row_index("_n").filter(pl.col("version") > 0)
    user = last["user"][-1]
    row = int(last.filter(pl.col("user") == user)["_n"][-1])
    return replace(h, refreshes=edit(h.refreshes, row, version=1))


def too_strong(h: RunHistory) -> RunHistory:
    row = find(h.requests, ~pl.col("alpha").is_nan())
    return replace(h, requests=edit(h.requests, row, de_norm=99.0))


def strength_out_of_range(h: RunHistory) -> RunHistory:
    row = find(h.requests, ~pl.col("alpha").is_nan())
    return replace(h, requests=edit(h.requests, row, alpha=1.5, de_norm=0.0))


def delivered_version(h: RunHistory) -> int:
    """Place of the attempt that brought the snapshot of some request."""
    used = h.requests.filter(USED)
    wanted = (pl.col("blob_version") == used["snapshot_version"][-1]) & pl.col(
        "user"
    ).str.ends_with(f".{used['user'][-1]}")
    return find(h.attempts, wanted)


def somebody_elses(h: RunHistory) -> RunHistory:
    row = delivered_version(h)
    return replace(h, attempts=edit(h.attempts, row, blob_user="virtual.99999"))


def anothers_sent(h: RunHistory) -> RunHistory:
    """It came and was not used: the cloud has told somebody of somebody else all the same."""
    row = find(h.attempts, pl.col("intact"))
    return replace(h, attempts=edit(h.attempts, row, blob_user="virtual.99999"))


def told_too_old(h: RunHistory) -> RunHistory:
    row = find(h.requests, USED)
    return replace(h, requests=edit(h.requests, row, snapshot_age_s=86_400.0))


def age_that_is_no_number(h: RunHistory) -> RunHistory:
    row = find(h.requests, USED)
    return replace(h, requests=edit(h.requests, row, snapshot_age_s=float("nan")))


def expired_stand_in(h: RunHistory) -> RunHistory:
    row = find(h.attempts, pl.col("stale") & pl.col("intact"))
    return replace(h, attempts=edit(h.attempts, row, done_s=h.attempts["done_s"][row] + 200.0))


def torn(h: RunHistory) -> RunHistory:
    row = delivered_version(h)
    return replace(h, attempts=edit(h.attempts, row, intact=False))


def other_bundle(h: RunHistory) -> RunHistory:
    row = delivered_version(h)
    return replace(h, attempts=edit(h.attempts, row, bundle="0" * 16))


def from_the_future(h: RunHistory) -> RunHistory:
    row = delivered_version(h)
    return replace(h, attempts=edit(h.attempts, row, done_s=1e6))


def ignored_snapshot(h: RunHistory) -> RunHistory:
    """A refresh brought a newer version than the answers after it used."""
    row = find(h.refreshes, (pl.col("outcome") == "fresh") & (pl.col("started_s") > 1))
    return replace(h, refreshes=edit(h.refreshes, row, version=(1 << 63) + 1))


def mixed_write(h: RunHistory) -> RunHistory:
    return replace(h, writes=edit(h.writes, 3, blob_user="virtual.99999"))


def torn_write(h: RunHistory) -> RunHistory:
    return replace(h, writes=edit(h.writes, 3, intact=False))


def overwritten(h: RunHistory) -> RunHistory:
    user = h.writes["user"][0]
    own = h.writes.with_row_index("_n").filter(
        (pl.col("user") == user) & (pl.col("change") == "put")
    )
    return replace(h, writes=edit(h.writes, int(own["_n"][1]), blob_version=1, created_ms=1))


def kept_for_ever(h: RunHistory) -> RunHistory:
    return replace(h, lasting_keys=("scalrec:{run.3}:snapshot:9f2c1a7be04d5533",))


def history_sent(h: RunHistory) -> RunHistory:
    return replace(h, attempts=edit(h.attempts, 5, fields="abstract,bundle_id,items,step"))


def header_sent(h: RunHistory) -> RunHistory:
    return replace(h, attempts=edit(h.attempts, 5, headers="accept,content-type,x-device-model"))


def telling_abstract(h: RunHistory) -> RunHistory:
    return replace(h, attempts=edit(h.attempts, 5, clean=False))


def elsewhere(h: RunHistory) -> RunHistory:
    return replace(h, attempts=edit(h.attempts, 5, user="/v1/events"))


def silent_refusal(h: RunHistory) -> RunHistory:
    row = find(h.attempts, pl.col("status") == 503)
    return replace(h, attempts=edit(h.attempts, row, retry_after=False))


def never_served_again(h: RunHistory) -> RunHistory:
    user = h.attempts.filter(pl.col("status") == 503)["user"][0]
    own = pl.col("user") == user
    after = own & (pl.col("sent_s") > 32)
    never = pl.when(after).then(pl.lit(429, pl.Int32)).otherwise(pl.col("status"))
    return replace(h, attempts=h.attempts.with_columns(never.alias("status")))


def breaker_stuck(h: RunHistory) -> RunHistory:
    late = pl.col("started_s") > 32
    outcome = pl.when(late).then(pl.lit("breaker")).otherwise(pl.col("outcome"))
    ends = pl.when(late).then(pl.col("started_s")).otherwise(pl.col("finished_s"))
    return replace(
        h, refreshes=h.refreshes.with_columns(outcome.alias("outcome"), ends.alias("finished_s"))
    )


MUTATIONS: dict[Callable[[RunHistory], RunHistory], str] = {
    drop_request: "every request answered",
    false_gap: "reported gap is true",
    gap_without_snapshot: "reported gap is true",
    older_version: "versions never go back",
    refresh_back: "versions never go back",
    too_strong: "correction is bounded",
    strength_out_of_range: "correction is bounded",
    somebody_elses: "snapshots are one's own",
    anothers_sent: "nobody is sent another's",
    told_too_old: "ages are true",
    age_that_is_no_number: "ages are true",
    expired_stand_in: "nothing expired is served",
    torn: "snapshots are one's own",
    other_bundle: "snapshots are one's own",
    from_the_future: "snapshots are one's own",
    ignored_snapshot: "newest snapshot is used",
    mixed_write: "store is never torn or mixed",
    torn_write: "store is never torn or mixed",
    overwritten: "store is never torn or mixed",
    kept_for_ever: "what is stored expires",
    history_sent: "only abstracts leave a device",
    header_sent: "only abstracts leave a device",
    telling_abstract: "only abstracts leave a device",
    elsewhere: "only abstracts leave a device",
    silent_refusal: "refusals are told",
    never_served_again: "refusals are told",
    breaker_stuck: "refreshes flow again",
}


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
def test_a_false_history_is_caught(
    true_run: tuple[Path, RunHistory, Expected], mutate: Callable[[RunHistory], RunHistory]
) -> None:
    _, history, expected = true_run
    found = check(mutate(history), expected)
    assert MUTATIONS[mutate] in {violation.rule for violation in found}
    assert all(violation.what for violation in found)


def test_every_invariant_has_a_mutation() -> None:
    assert set(MUTATIONS.values()) == set(INVARIANTS)


def test_many_violations_are_cut_off(true_run: tuple[Path, RunHistory, Expected]) -> None:
    _, history, expected = true_run
    gone = replace(history, attempts=history.attempts.with_columns(pl.lit(False).alias("intact")))
    found = [v for v in check(gone, expected) if v.rule == "snapshots are one's own"]
    assert len(found) == MOST_PER_RULE


def test_a_failure_is_shown_as_a_page(
    true_run: tuple[Path, RunHistory, Expected], tmp_path: Path
) -> None:
    _, history, expected = true_run
    found = check(false_gap(history), expected)
    scenario = load_scenario("periodic-outage")
    text = write_page(tmp_path, scenario, scenario.script(), history, found).read_text()
    assert f"User {found[0].user}" in text
    assert "reported gap is true" in text
    assert text.count('class="asked"') >= 10
    assert "<script" not in text


@pytest.mark.parametrize(
    "abstract",
    [
        "Seen at 40.71234, -74.00601",
        "Write to ann@example.org",
        "Bought 4006381333931",
        "Active at 23:45",
        "Since 2024-05-06",
    ],
)
def test_telling_abstracts_are_recognised(abstract: str) -> None:
    assert not is_clean(abstract)
    assert is_clean("Mostly watches drama. Recently: Heat (1995), 12 Monkeys. Friday evening.")
    assert "abstract" in invariants.ALLOWED_FIELDS
