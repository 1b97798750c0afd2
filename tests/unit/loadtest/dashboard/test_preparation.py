"""Preparation: what is done, of how much, and the time left; a second Progress hears the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from loadtest.dashboard.preparation import MOST_STEPS, Preparation, ShownProgress
from shared.progress import NullProgress, Task


class _Told:
    """A Progress, and a Task, that writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[object, object]] = []

    @contextmanager
    def task(self, label: str, total: int | None = None) -> Iterator[Task]:
        self.heard.append((label, total))
        yield self

    def advance(self, amount: int = 1, note: str = "") -> None:
        self.heard.append((amount, note))


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_piece_of_work_tells_what_is_done_and_the_time_left() -> None:
    clock = _Clock()
    preparation = Preparation(clock)
    progress = ShownProgress(preparation, NullProgress())
    with progress.task("embedding abstracts", 400) as task:
        clock.now += 1
        task.advance(100, "fast")
        assert preparation.drawn()[0]["left_s"] is None, "too early to say"
        clock.now += 9
        task.advance(100)
        assert preparation.drawn() == [
            {
                "label": "embedding abstracts",
                "done": 200,
                "total": 400,
                "note": "fast",
                "seconds": 10,
                "left_s": 10,
                "over": False,
            }
        ]
    clock.now += 5
    ended = preparation.drawn()[0]
    assert (ended["over"], ended["seconds"], ended["left_s"]) == (True, 10, None)


def test_work_that_fails_or_has_no_total_is_shown_too() -> None:
    preparation = Preparation()
    progress = ShownProgress(preparation, NullProgress())
    work = progress.task("server starts")
    work.__enter__()
    assert (preparation.drawn()[0]["total"], preparation.drawn()[0]["over"]) == (None, False)
    assert not work.__exit__(RuntimeError, RuntimeError("it did not"), None), "it goes on up"
    assert preparation.drawn()[0]["over"]


def test_who_else_is_told_hears_everything() -> None:
    inner = _Told()
    with ShownProgress(Preparation(), inner).task("epochs", 3) as task:
        task.advance(2, "loss 1.0")
        task.advance()
    assert inner.heard == [("epochs", 3), (2, "loss 1.0"), (1, "")]


def test_only_the_latest_pieces_are_kept() -> None:
    preparation = Preparation()
    progress = ShownProgress(preparation, NullProgress())
    for number in range(MOST_STEPS + 5):
        with progress.task(f"step {number}"):
            pass
    labels = [work["label"] for work in preparation.drawn()]
    assert labels == [f"step {number}" for number in range(5, MOST_STEPS + 5)]
