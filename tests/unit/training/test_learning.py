"""The loop that all training shares: what it keeps, when it stops, how it goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from shared.errors import DataError
from shared.progress import Task
from training.learning import (
    Checkpoint,
    Epoch,
    Judged,
    Say,
    best_of,
    copied,
    descend,
    fit_until,
    load,
    mean_loss,
    reproducible,
    set_rate,
    weights_of,
)

NAN = float("nan")


class Fit:
    """One weight whose value is the number of the epoch, judged by given scores."""

    def __init__(self, scores: Sequence[float]) -> None:
        self.scores = scores
        self.weight = torch.zeros(1)
        self.learned: list[int] = []

    def learn(self, epoch: int, say: Say) -> float:
        self.learned.append(epoch)
        self.weight.fill_(epoch)
        say("batch 1/1")
        return 1.0 / epoch

    def judge(self) -> Judged:
        return Judged(self.scores[int(self.weight)])

    def run(self, *, start: bool = True, patience: int | None = None) -> tuple[Epoch, ...]:
        return fit_until(
            len(self.scores) - 1,
            {"w": self.weight},
            self.learn,
            self.judge,
            label="fitting",
            patience=patience,
            start=self.judge if start else None,
        )


@pytest.mark.parametrize(
    ("scores", "start", "kept"),
    [
        ([0.1, 0.2, 0.5, 0.3], True, 2),
        ([0.1, 0.4, 0.4, 0.2], True, 1),  # of equal ones the earliest
        ([0.9, 0.4, 0.5], True, 0),  # as they came
        ([0.9, 0.4, 0.5], False, 2),  # nothing was known of how they came
        ([NAN, NAN, NAN, NAN], False, 3),  # nothing to judge by: the last
        ([0.0, -3.0, -2.0, -2.5], False, 2),
    ],
)
def test_the_best_epoch_is_kept(scores: list[float], start: bool, kept: int) -> None:
    fit = Fit(scores)
    history = fit.run(start=start)
    assert fit.weight.item() == kept == best_of(history).epoch
    first = 0 if start else 1
    assert [epoch.epoch for epoch in history] == list(range(first, len(scores)))
    assert [e.train_loss for e in history if e.epoch] == [1.0 / e for e in range(1, len(scores))]
    if start:
        assert (history[0].train_loss, history[0].seconds) == (None, 0.0)


@pytest.mark.parametrize(
    ("scores", "start", "patience", "last"),
    [
        ([0.1, 0.2, 0.1, 0.1, 0.9], True, 2, 3),
        ([0.1, 0.2, 0.1, 0.2, 0.9], True, 2, 3),  # as good is no better
        ([0.1, 0.2, 0.1, 0.3, 0.1, 0.1, 0.9], True, 2, 5),
        ([0.5, 0.1, 0.1, 0.9], True, 2, 2),
        ([0.5, 0.1, 0.0, 0.9], False, 1, 2),
        ([0.5, 0.1, 0.0, 0.9], True, None, 3),
    ],
)
def test_it_stops_when_nothing_got_better(
    scores: list[float], start: bool, patience: int | None, last: int
) -> None:
    fit = Fit(scores)
    assert fit.run(start=start, patience=patience)[-1].epoch == last
    assert fit.learned == list(range(1, last + 1))


class Watched:
    """Progress that keeps what it was told, and may end the run at a note."""

    def __init__(self, ends_at: str | None = None) -> None:
        self.ends_at, self.told = ends_at, list[tuple[int, str]]()

    @contextmanager
    def task(self, label: str, total: int | None = None) -> Iterator[Task]:
        self.told.append((total or 0, label))
        yield self

    def advance(self, amount: int = 1, note: str = "") -> None:
        self.told.append((amount, note))
        if note == self.ends_at:
            raise KeyboardInterrupt


def line(
    path: Path, epochs: int = 5, progress: Watched | None = None, width: int = 1
) -> tuple[nn.Linear, tuple[Epoch, ...]]:
    """Fit y = 3 x - 1 with AdamW, whose moments matter; judged best in the middle."""
    torch.manual_seed(0)
    model = nn.Linear(width, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)

    def learn(epoch: int, say: Say) -> float:
        x = torch.randn(8, width, generator=torch.Generator().manual_seed(epoch))
        set_rate(optimizer, 0.05 / epoch)

        def step(_: int, rows: torch.Tensor) -> tuple[float, int]:
            return descend(optimizer, (model(rows) - 3 * rows + 1).square().mean()), len(rows)

        return mean_loss(torch.split(x, 3), step, say)

    def judge() -> Judged:
        return Judged(-abs(float(model.bias.detach()) + 0.2), 0.5)

    history = fit_until(
        epochs,
        weights_of(model=model),
        learn,
        judge,
        label="fitting",
        progress=progress,
        resume=(Checkpoint(path), optimizer),
    )
    return model, history


def without_seconds(history: Sequence[Epoch]) -> list[tuple[object, ...]]:
    return [(e.epoch, e.train_loss, e.validation_ndcg10, e.validation_loss) for e in history]


@pytest.mark.parametrize("ends_at", ["epoch 1/5, batch 2/3", "epoch 3/5, batch 1/3", "epoch 5/5"])
def test_an_ended_run_goes_on_and_comes_to_the_same(tmp_path: Path, ends_at: str) -> None:
    watched = Watched()
    whole, expected = line(tmp_path / "whole", progress=watched)
    note = next(note for _, note in watched.told if note.startswith(ends_at))
    with pytest.raises(KeyboardInterrupt):
        line(tmp_path / "ended", progress=Watched(note))
    again = Watched()
    resumed, found = line(tmp_path / "ended", progress=again)
    assert without_seconds(found) == without_seconds(expected)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)
    done = sum(amount for amount, _ in again.told[1:])
    assert done == again.told[0][0] == 5


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def of_other_shapes(path: Path) -> None:
    line(path, epochs=2, width=2)


def of_another_kind(path: Path) -> None:
    path.write_bytes(b"no tensors")


@pytest.mark.parametrize("spoil", [damaged, of_other_shapes, of_another_kind, Path.unlink])
def test_a_file_that_does_not_fit_is_begun_anew(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    expected, history = line(tmp_path / "whole")
    path = tmp_path / "spoilt"
    line(path, epochs=3)
    spoil(path)
    found, again = line(path)
    assert without_seconds(again) == without_seconds(history)
    torch.testing.assert_close(found.weight, expected.weight, rtol=0, atol=0)
    Checkpoint(path).remove()
    Checkpoint(path).remove()
    assert not path.exists()


def test_a_finished_run_is_read_and_learns_no_more(tmp_path: Path) -> None:
    first, history = line(tmp_path / "c")
    watched = Watched()
    again, same = line(tmp_path / "c", progress=watched)
    assert same == history
    assert watched.told[1:] == [(5, "going on after epoch 5")]
    assert torch.equal(first.weight, again.weight)


def test_the_mean_loss_counts_rows_and_skips_empty_batches() -> None:
    said: list[str] = []
    steps = [(1.0, 1), (NAN, 0), (4.0, 2)]
    assert mean_loss("abc", lambda place, _: steps[place], said.append) == 3.0
    assert said == ["batch 1/3, loss 1.000", "batch 3/3, loss 4.000"]
    assert mean_loss((), lambda *_: (NAN, 0), said.append) == 0.0


def test_a_step_clips_forgets_older_gradients_and_refuses_what_is_not_finite() -> None:
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    weight.grad = torch.full((2,), 100.0)
    assert descend(optimizer, 4.0 * weight.sum()) == -4.0
    torch.testing.assert_close(weight.detach(), torch.tensor([-3.0, -6.0]))
    descend(optimizer, 3.0 * weight[0] + 4.0 * weight[1], clip=([weight], 1.0))
    torch.testing.assert_close(weight.detach(), torch.tensor([-3.6, -6.8]), rtol=0, atol=1e-4)
    before = weight.detach().clone()
    with pytest.raises(DataError, match=r"diverged .*lower the heat"):
        descend(optimizer, (weight * torch.inf).sum(), knob="the heat")
    assert torch.equal(weight.detach(), before)


def test_copies_stand_apart_and_loading_reaches_the_modules() -> None:
    one, two = nn.Linear(2, 2), nn.BatchNorm1d(2)
    live = weights_of(one=one, two=two)
    assert {"one.weight", "one.bias", "two.running_mean"} <= set(live)
    kept = copied(live)
    two.running_mean += 5.0
    with torch.no_grad():
        one.weight.fill_(7.0)
    assert not torch.equal(kept["one.weight"], one.weight)
    load(live, kept)
    assert torch.equal(kept["one.weight"], one.weight)
    assert two.running_mean.tolist() == [0.0, 0.0]


def test_the_state_of_chance_and_threads_comes_back() -> None:
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    with reproducible(1, threads + 1):
        first = torch.rand(1)
        assert torch.get_num_threads() == threads + 1
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == threads
    with reproducible(1, threads):
        assert torch.equal(torch.rand(1), first)
