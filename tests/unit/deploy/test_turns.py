"""Fleets and load tests take turns, and whoever dies gives its turn back."""

from __future__ import annotations

import multiprocessing
import runpy
from pathlib import Path

TURNS = runpy.run_path(str(Path(__file__).resolve().parents[3] / "deploy" / "bin" / "turns.py"))


def _hold(kind: str, folder: Path, has: object, end: object) -> None:
    with TURNS[kind](folder):
        has.set()  # type: ignore[attr-defined]
        end.wait(30)  # type: ignore[attr-defined]


class Holder:
    """Another process with a turn, or waiting for one."""

    def __init__(self, kind: str, folder: Path) -> None:
        fork = multiprocessing.get_context("fork")
        self.has, self.end = fork.Event(), fork.Event()
        self.process = fork.Process(target=_hold, args=(kind, folder, self.has, self.end))
        self.process.start()

    def finish(self) -> None:
        self.end.set()
        self.process.join(30)


def test_fleets_share_a_turn_and_rest_for_a_load_test(tmp_path: Path) -> None:
    first, second = Holder("fleet", tmp_path), Holder("fleet", tmp_path)
    assert first.has.wait(10)
    assert second.has.wait(10)
    assert not TURNS["load_test_wanted"](tmp_path)

    test = Holder("load_test", tmp_path)
    assert not test.has.wait(0.5)
    assert TURNS["load_test_wanted"](tmp_path)
    first.finish()
    assert not test.has.wait(0.5)
    second.finish()
    assert test.has.wait(10)

    late = Holder("fleet", tmp_path)
    assert not late.has.wait(0.5)
    test.process.kill()  # however it ends
    test.process.join(30)
    assert late.has.wait(10)
    assert not TURNS["load_test_wanted"](tmp_path)
    late.finish()
