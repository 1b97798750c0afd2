"""`make mutations`: seed one defect at a time into a copy of the code, and see who notices."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from loadtest.history.mutation_record import (
    MutationOutcome,
    MutationRecord,
    read_mutation_record,
)
from loadtest.replay.run_info import git_revision
from reports.documents import RECORDS, regenerate
from shared.files import write_whole
from tests.mutation.mutations import CHECKER, CHECKS, MUTATIONS, Mutation, apply

ROOT = Path(__file__).parents[2]
RECORD = "mutations.json"
TIMEOUT_S = 600.0
_IN_ORDER = 0, 1  # exit codes of pytest: all passed, some failed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--docs", type=Path, help="put the result into docs/ of this checkout")
    parser.add_argument("--only", default="", help="defects whose name holds this text")
    parser.add_argument(
        "--missing", action="store_true", help="those that the record lacks, or nothing noticed"
    )
    options = parser.parse_args()
    path = None if options.docs is None else options.docs / RECORDS / RECORD
    chosen = [m for m in MUTATIONS if options.only in m.name]
    if options.missing:
        chosen = [m for m in chosen if m.name not in _noticed(path)]
    found: list[MutationOutcome] = []
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        needed = {CHECKER, *(check for mutation in chosen for check in mutation.checks)}
        if failed := _failing(None, sorted(needed), Path(folder)):
            sys.exit(f"without any defect these checks fail already: {', '.join(failed)}")
        for mutation in chosen:
            caught = _failing(mutation, (CHECKER, *mutation.checks), Path(folder))
            found.append(MutationOutcome(name=mutation.name, file=mutation.file, caught_by=caught))
            print(f"{mutation.name}: {', '.join(caught) or 'NOBODY NOTICED'}", flush=True)
            if path is not None:
                _record(path, found)  # at once: an interruption costs one defect
    if options.docs is not None:
        for changed in regenerate(options.docs):
            print(changed)
    missed = [outcome.name for outcome in found if not outcome.caught_by]
    if missed:
        sys.exit(f"{len(missed)} of {len(found)} defects were not noticed")
    print(f"{len(found)} defects, each noticed")


def _noticed(path: Path | None) -> set[str]:
    if path is None or not path.exists():
        return set()
    outcomes = read_mutation_record(path.read_text()).outcomes
    return {outcome.name for outcome in outcomes if outcome.caught_by}


def _record(path: Path, found: list[MutationOutcome]) -> None:
    """Put these outcomes into the record, beside those of other defects."""
    record = MutationRecord(
        revision=git_revision(),
        checks={name: what for name, (what, _) in CHECKS.items()},
        outcomes=tuple(found),
    )
    if path.exists():
        older = read_mutation_record(path.read_text())
        record = record.over(older, [mutation.name for mutation in MUTATIONS])
    write_whole(path, record.model_dump_json(indent=1) + "\n")


def _failing(mutation: Mutation | None, checks: Iterable[str], folder: Path) -> tuple[str, ...]:
    """Which checks fail on a copy of the code with this defect."""
    copy = folder / "copy"
    _copy(copy)
    if mutation is not None:
        apply(mutation, copy)
    failed = []
    for name in checks:
        tests = CHECKS[name][1]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        command += ["-m", "not slow", "--hypothesis-profile=quick", *tests]
        try:
            done = subprocess.run(
                command, cwd=copy, env=_environment(copy), capture_output=True, text=True,
                timeout=TIMEOUT_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            failed.append(name)
            continue
        if done.returncode not in _IN_ORDER:
            sys.exit(f"{name} could not be run: {done.stdout}{done.stderr}")
        if done.returncode:
            failed.append(name)
    return tuple(failed)


def _environment(copy: Path) -> dict[str, str]:
    """The copy comes before the checkout that is installed."""
    return os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}


def _copy(copy: Path) -> None:
    """All files of the checkout that git knows or would take, anew."""
    shutil.rmtree(copy, ignore_errors=True)
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.decode().split("\0")):
        source, target = ROOT / name, copy / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


if __name__ == "__main__":
    main()
