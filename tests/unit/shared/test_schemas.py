"""HTTP bodies: bounds, and the snapshot in JSON."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest
from pydantic import ValidationError

from shared.errors import CloudUnavailable, DataError
from shared.schemas import (
    MAX_ABSTRACT_CHARS,
    MAX_STEP,
    USER_PATTERN,
    SnapshotRequest,
    SnapshotResponse,
)
from shared.snapshot import Snapshot, make_version


@pytest.mark.parametrize(
    "body",
    [
        {"abstract": "", "step": 1},
        {"abstract": "x" * (MAX_ABSTRACT_CHARS + 1), "step": 1},
        {"abstract": "x", "step": -1},
        {"abstract": "x", "step": MAX_STEP + 1},
        {"abstract": "x", "step": 1, "items": [1]},
        {"abstract": "x", "step": 1, "bundle_id": "b" * 65},
    ],
)
def test_request_is_bounded(body):
    with pytest.raises(ValidationError):
        SnapshotRequest.model_validate(body)


def test_largest_step_has_a_version():
    assert make_version(MAX_STEP, 0) < 1 << 64


def test_snapshot_as_json():
    snapshot = Snapshot(
        user="u",
        tau=3,
        created_ms=5,
        bundle_id="b",
        e_sem=np.array([1.5, -2.0], np.float32),
        items=np.array([7], np.int32),
        scores=np.ones(1),
    )
    body = SnapshotResponse.of(snapshot, stale=True, age_s=1.0)
    vector = np.frombuffer(base64.b64decode(body.e_sem_base64), "<f4")
    assert vector.tolist() == [1.5, -2.0]
    assert (body.items, body.version, body.tau, body.stale) == ([7], snapshot.version, 3, True)


@pytest.mark.parametrize("user", ["1", "a-b_c.d~e@f", "x" * 128])
def test_users_in_addresses(user):
    assert re.fullmatch(USER_PATTERN, user)


@pytest.mark.parametrize("user", ["", "a/b", "a b", "é", "x" * 129, "a\n", "a%2Fb"])
def test_users_that_would_break_an_address(user):
    assert not re.fullmatch(USER_PATTERN, user)


def test_errors_carry_where_and_why():
    assert str(DataError("bad", "a.csv", 3)) == "a.csv, line 3: bad"
    assert str(DataError("bad")) == "bad"
    error = CloudUnavailable("busy", "refused", retry_after_s=2.0)
    assert (str(error), error.reason, error.retry_after_s) == ("busy", "refused", 2.0)
