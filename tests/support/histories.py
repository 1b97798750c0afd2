"""What must hold of every replay, whatever happened to the cloud: checked on its records."""

from __future__ import annotations

import numpy as np
import polars as pl

from loadtest.records.record_table import numbers

_EDGE_S = 1e-6


def check_history(requests: pl.DataFrame, refreshes: pl.DataFrame, *, gamma_max: float) -> None:
    """Assert that every gap is true, versions never go back, and each answer used what was there.

    Args:
        requests, refreshes: all records of one replay.
        gamma_max: of the bundle; |de| <= gamma_max * alpha (SCaLRec eq. 13).
    """
    for (user,), asked in requests.group_by("user"):
        asked = asked.sort("step")
        steps = asked["step"].to_numpy()
        assert np.all(np.diff(steps) == 1), f"user {user}: a request is missing"
        assert np.all(np.diff(numbers(asked, "started_s")) >= 0)
        versions = asked["snapshot_version"].to_list()
        assert versions == sorted(versions), f"user {user}: a snapshot went back"
        own = refreshes.filter(pl.col("user") == user).sort("finished_s")
        for row in asked.iter_rows(named=True):
            _check_answer(row, own)
    corrected = requests.filter(pl.col("de_norm").is_not_nan())
    bound = gamma_max * numbers(corrected, "alpha")
    assert np.all(numbers(corrected, "de_norm") <= bound * (1 + 1e-5) + 1e-6)


def _check_answer(row: dict[str, object], refreshes: pl.DataFrame) -> None:
    """The answer used the newest snapshot that had arrived, and says so."""
    started = float(str(row["started_s"]))
    before = refreshes.filter(pl.col("finished_s") < started - _EDGE_S)
    until = refreshes.filter(pl.col("finished_s") <= started + _EDGE_S)
    allowed = {frame["version"].max() or 0 for frame in (before, until)}
    assert row["snapshot_version"] in allowed, f"{row} used another snapshot than {allowed}"
    if row["source"] == "local":
        assert (row["delta"], row["snapshot_tau"], row["snapshot_version"]) == (-1, -1, 0)
        return
    step, tau = int(str(row["step"])), int(str(row["snapshot_tau"]))
    assert row["delta"] == step - tau >= 0, f"{row} reports a false gap"
    arrived = until.filter(pl.col("version") == row["snapshot_version"])
    assert set(arrived["tau"]) == {tau}
    # It was asked for before it was used, so it cannot be younger than its own way back.
    assert float(str(row["snapshot_age_s"])) >= 0.0
