"""What training may read of a log: all before the test events, and nothing of those."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from device_runtime.abstract.writer import TemplateAbstract
from shared.abstract_form import AbstractForm
from shared.interactions import InteractionLog
from shared.profile import PRESETS
from shared.split import split_log
from tests.support.logs import drifting_log
from training.semantic.anchors import write_abstracts
from training.steps import told_to_writers, training_steps


def full_log() -> InteractionLog:
    """With every column that a log may have."""
    log = drifting_log(users=6, events=20)
    rng = np.random.default_rng(0)
    return replace(
        log,
        utc_offset_min=rng.choice([-300, 0, 120], len(log)).astype(np.int16),
        query=tuple(f"something like number {i}" if i % 3 else "" for i in range(len(log))),
        session=np.cumsum(rng.random(len(log)) < 0.3).astype(np.int64),
    )


@pytest.mark.parametrize("profile", ["small", "tiny"])
@pytest.mark.parametrize("level", ["items", "categories"])
def test_writers_are_told_all_that_a_device_would_say(profile: str, level: str) -> None:
    log = full_log()
    split = split_log(log, test_steps=4, validation_steps=2, calibration_steps=3)
    steps, told = training_steps(log, split, per_user=8), told_to_writers(log, split)
    form = AbstractForm(level=level)  # type: ignore[arg-type]
    texts = [
        write_abstracts(of, steps.anchors, TemplateAbstract(of.catalogue, form), PRESETS[profile])
        for of in (log, told)
    ]
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > len(texts[0]) / 2


def test_no_test_event_and_no_full_text_is_told() -> None:
    log = full_log()
    split = split_log(log, test_steps=4)
    told = told_to_writers(log, split)
    np.testing.assert_array_equal(told.counts(), split.test_start)
    assert told.user_ids == log.user_ids
    assert set(told.catalogue.texts) == {""}
    assert told.catalogue.titles == log.catalogue.titles
    steps = training_steps(log, split, per_user=8)
    np.testing.assert_array_equal(steps.events.item, told.item)
    np.testing.assert_array_equal(steps.events.time_s, told.time)
    assert steps.sessions is not None
    np.testing.assert_array_equal(steps.sessions, told.session)


def test_every_step_has_its_row() -> None:
    log = full_log()
    split = split_log(log, test_steps=4, validation_steps=2, calibration_steps=3)
    steps = training_steps(log, split, per_user=8)
    block = steps.block()
    assert block is not None
    for rows in (steps.rows(steps.trained_on), steps.validation_rows(), block):
        assert len(rows)
        assert (rows >= 0).all()
    without = training_steps(log, split_log(log, test_steps=4), per_user=8)
    assert without.block() is None
