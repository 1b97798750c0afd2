"""Sections of abstracts, and a catalogue that they are about."""

from __future__ import annotations

import dataclasses

import numpy as np

from device_runtime.abstract.digest import Sections
from shared.interactions import Catalogue, InteractionLog
from shared.text_student import StudentWeights, pack_student
from tests.support.logs import drifting_log

CAFES = Catalogue(
    ids=("r0", "r1", "r2"),
    titles=("Fat Cat", "Blue Bottle", "Fat Cat"),
    categories=(("Food", "Bar"), ("Café",), ()),
    areas=("West Village", "", ""),
    texts=("", "", ""),
)


def sections(**told: object) -> Sections:
    """Sections that tell nothing but what is given."""
    nothing = Sections(
        categories=(),
        areas=(),
        favourites=(),
        usual=(),
        before=(),
        session=(),
        slot="",
        query="",
    )
    return dataclasses.replace(nothing, **told)  # type: ignore[arg-type]


def student_weights(rows: int = 512, dim: int = 8, seed: int = 0) -> StudentWeights:
    rng = np.random.default_rng(seed)
    spread = rng.uniform(0.1, 1.0, (rows, 1))
    table = (spread * rng.standard_normal((rows, dim))).astype(np.float32)
    return pack_student(table, rng.standard_normal(dim).astype(np.float32), 3.0)


def talkative_log(
    log: InteractionLog | None = None, query: tuple[str, ...] | None = None
) -> InteractionLog:
    """A log with sessions of four events and a query at each event."""
    log = log or drifting_log(users=12, events=24)
    place = np.arange(len(log)) - np.repeat(log.user_start[:-1], log.counts())
    said = tuple(f"something like {log.catalogue.titles[i]}" for i in np.roll(log.item, 1))
    return dataclasses.replace(log, session=place // 4, query=query or said)
