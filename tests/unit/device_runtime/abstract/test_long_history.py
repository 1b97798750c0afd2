"""Writing costs what the latest events cost, however many came before."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from device_runtime.abstract.words import ItemWords, Words
from device_runtime.abstract.writer import REMEMBERED, TemplateAbstract
from device_runtime.state.history import RequestContext, Window
from shared.interactions import Catalogue

N_ITEMS = 300
LONG = 2_000_000
FRIDAY = RequestContext(1.2e9, 114.0, "something like Film 7")


class Counted(np.ndarray):
    """An array that counts what is read of it as Python values."""

    read = 0

    def tolist(self) -> list[int]:
        Counted.read += self.size
        return super().tolist()


@pytest.fixture
def catalogue() -> Catalogue:
    names = tuple(f"Film {i}" for i in range(N_ITEMS))
    kinds = tuple((("drama", "crime", "comedy")[i % 3],) for i in range(N_ITEMS))
    return Catalogue(
        ids=tuple(f"x{i}y" for i in range(N_ITEMS)),
        titles=names,
        categories=kinds,
        areas=("",) * N_ITEMS,
        texts=names,
    )


def history(items: NDArray[np.int32]) -> Window:
    hours = (np.arange(len(items)) % 168).astype(np.float32)[::-1].copy()
    return Window(items.view(Counted), np.zeros(len(items)), hours.view(Counted))


def lookups_and_reads(
    catalogue: Catalogue, past: Window, monkeypatch: pytest.MonkeyPatch
) -> tuple[int, int]:
    """How often words of an item were asked for, and how many values were read of the history."""
    asked: list[int] = []
    of = ItemWords.of

    def counting(self: ItemWords, item: int) -> Words:
        asked.append(item)
        return of(self, item)

    writer = TemplateAbstract(catalogue)
    Counted.read = 0
    with monkeypatch.context() as patched:
        patched.setattr(ItemWords, "of", counting)
        writer.write(past, FRIDAY)
    return len(asked), Counted.read


def test_two_million_events_cost_as_much_as_the_latest_of_them(catalogue, monkeypatch):
    items = np.random.default_rng(0).integers(0, N_ITEMS, LONG).astype(np.int32)
    long = lookups_and_reads(catalogue, history(items), monkeypatch)
    short = lookups_and_reads(catalogue, history(items[-REMEMBERED:].copy()), monkeypatch)
    assert long == short
    assert long[0] <= 2 * REMEMBERED
    assert long[1] <= 2 * REMEMBERED


def test_a_long_history_is_told_by_its_latest_events(catalogue):
    early, late = np.zeros(LONG, dtype=np.int32), np.full(REMEMBERED, 1, dtype=np.int32)
    text = TemplateAbstract(catalogue).write(history(np.concatenate([early, late])), FRIDAY)
    assert text.startswith("Mostly crime. Often returns to Film 1.")
    assert "drama" not in text


def test_ordinary_histories_are_told_whole(catalogue):
    items = np.concatenate([np.zeros(2_000, dtype=np.int32), np.full(1_000, 1, dtype=np.int32)])
    text = TemplateAbstract(catalogue).write(history(items.astype(np.int32)), FRIDAY)
    assert text.startswith("Mostly drama and crime. Often returns to Film 0, Film 1.")


class NotToBeRead(frozenset[int]):
    """Items that may be asked for, and not gone through."""

    def __iter__(self) -> Iterator[int]:
        raise AssertionError("the whole history was read")


@pytest.mark.parametrize("level", ["items", "coarse", "categories"])
def test_a_query_is_cleaned_without_going_through_the_history(catalogue, level):
    names = ("Heat (1995)", "Fargo", *catalogue.titles[2:])
    words = ItemWords(dataclasses.replace(catalogue, titles=names), level)
    said = {
        own: words.query("the heat of fargo and crime", 100, NotToBeRead(own))
        for own in ((0, 7), (1,), ())
    }
    if level == "items":
        assert set(said.values()) == {"the heat of fargo and crime"}
    elif level == "coarse":
        assert said[0, 7] == "the drama 1990s of fargo and crime"
        assert said[1,] == "the heat of crime and crime"
        assert said[()] == "the heat of fargo and crime"
    else:
        assert said == {(0, 7): "drama, crime", (1,): "crime", (): "crime"}
