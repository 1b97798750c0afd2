"""Every seeded defect still finds its place, and every check its tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.history.mutation_record import (
    MutationOutcome,
    MutationRecord,
    mutation_rows,
    read_mutation_record,
)
from tests.mutation.mutations import CHECKS, MUTATIONS, Mutation, apply

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_defect_can_be_seeded_and_leaves_code_that_parses(
    mutation: Mutation, tmp_path: Path
) -> None:
    copy = tmp_path / mutation.file
    copy.parent.mkdir(parents=True)
    copy.write_text((ROOT / mutation.file).read_text())
    apply(mutation, tmp_path)
    compile(copy.read_text(), mutation.file, "exec")
    with pytest.raises(ValueError, match="0 times"):
        apply(mutation, tmp_path)


def test_defects_and_checks_are_told_apart_and_exist() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= 10
    assert all(set(mutation.checks) <= set(CHECKS) for mutation in MUTATIONS)
    for _, tests in CHECKS.values():
        for test in tests:
            path, _, name = test.partition("::")
            assert (ROOT / path).exists(), test
            assert name.partition("[")[0] in ((ROOT / path).read_text() if name else ""), test


def test_a_part_of_the_defects_leaves_the_record_of_the_others() -> None:
    def outcome(name: str, *caught: str) -> MutationOutcome:
        return MutationOutcome(name=name, file="a.py", caught_by=caught)

    older = MutationRecord(revision="r1", checks={}, outcomes=(outcome("a"), outcome("gone")))
    newer = MutationRecord(revision="r2", checks={}, outcomes=(outcome("b", "device"),))
    merged = newer.over(older, ["a", "b"])
    assert [(one.name, one.caught_by) for one in merged.outcomes] == [("a", ()), ("b", ("device",))]
    rows = mutation_rows(read_mutation_record(merged.model_dump_json()))[1]
    assert [row[2] for row in rows] == ["**nothing**", "device"]
