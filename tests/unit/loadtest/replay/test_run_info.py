from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from loadtest.replay.run_info import RunInfo

OLD: dict[str, Any] = {
    "started": "2025-01-01T00:00:00+00:00",
    "log": {"log": "films"},
    "bundle_id": "0123456789abcdef",
    "backbone": "sasrec",
    "embedder": {"backend": "vllm", "model": "minilm", "pooling": "MEAN", "dim": 384},
    "requested_backend": "vllm",
    "repeat_policy": "allow",
    "candidates": 100,
    "fusion_weight": 0.25,
    "settings": {},
}


@pytest.mark.parametrize(("had_table", "table"), [(True, "float32"), (False, "none")])
def test_records_of_before_int8_tables_are_read(had_table: bool, table: str) -> None:
    run = RunInfo.model_validate(OLD | {"profile": {"window": 50, "item_table": had_table}})
    assert run.profile.table == table
    assert run.profile.window == 50
    assert RunInfo.model_validate(run.model_dump(mode="json")) == run


def test_only_a_reason_makes_a_fallback() -> None:
    run = RunInfo.model_validate(OLD | {"profile": {"window": 50}})
    inside = run.model_copy(
        update={"embedder": run.embedder.model_copy(update={"backend": "transformers"})}
    )
    assert not inside.fell_back  # nobody had to serve: a replay on the virtual clock
    assert inside.model_copy(update={"fallback_reason": "vLLM is not installed"}).fell_back


def test_other_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError, match="wings"):
        RunInfo.model_validate(OLD | {"profile": {"wings": 2}})
