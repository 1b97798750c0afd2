"""Every seeded defect still finds its place, and every check its tests."""

from __future__ import annotations

from pathlib import Path

import pytest

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
