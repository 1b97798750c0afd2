"""What the text student costs at a request: kept parts against all words, without the query."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np

from benchmarks.timing import BenchmarkLine, interleaved
from device_runtime.abstract.words import ItemWords
from device_runtime.student.student import TextStudent
from shared.abstract_form import AbstractForm
from shared.interactions import InteractionLog
from shared.profile import DeviceProfile
from shared.text_student import pack_student
from training.semantic.anchors import Anchors
from training.student.bags import sections_at

ROWS = 16_384


def compare_student(log: InteractionLog, *, dim: int) -> list[BenchmarkLine]:
    """One embedding at the last event of the log's longest history, of random weights."""
    rng = np.random.default_rng(0)
    table = rng.standard_normal((ROWS, dim)).astype(np.float32)
    weights = pack_student(table, np.zeros(dim, dtype=np.float32), 1.0)
    form, user = AbstractForm(), int(log.counts().argmax())
    words = ItemWords(log.catalogue, form.level)
    last = Anchors(np.array([user]), log.counts()[[user]] - 1)
    (told,) = sections_at(log, last, words, form, DeviceProfile())
    told = dataclasses.replace(told, query="")
    found = interleaved(
        partial(TextStudent(weights, words).embed, told),
        lambda: TextStudent(weights, words, kept=0).embed(told),
        rounds=100,
    )
    name = "words of a request: kept parts against all words"
    return [BenchmarkLine.timed(name, found, "lower")]
