from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from device_runtime.abstract.digest import Sections
from device_runtime.abstract.words import ItemWords
from device_runtime.student.features import StudentFeatures
from device_runtime.student.student import TextStudent
from shared.text_student import StudentWeights
from tests.support.sections import CAFES, sections, student_weights

WORDS = ItemWords(CAFES, "items")
WEIGHTS = student_weights()

items = st.lists(st.integers(0, 2), max_size=6).map(tuple)
names = st.lists(st.sampled_from(("Bar", "Café", "Soho")), max_size=3).map(tuple)
any_sections = st.builds(
    Sections,
    categories=names,
    areas=names,
    favourites=items,
    usual=names,
    before=items,
    session=items,
    slot=st.sampled_from(("", "weekday morning")),
    query=st.text("ab 'é", max_size=40),
)


def from_scratch(weights: StudentWeights, told: Sections) -> np.ndarray:
    """The definition, in float64 and word by word."""
    features = StudentFeatures(WORDS, len(weights.codes))
    table = weights.unpack().astype(np.float64)
    total, squared = np.zeros(weights.dim), 0.0
    for part in features.parts(told):
        for row, weight in zip(*features.tokens(part), strict=True):
            total += float(weight) * table[row]
            squared += float(weight) ** 2
    return weights.out_scale * total / max(squared, 1e-30) ** 0.5 + weights.bias


@settings(deadline=None)
@given(st.lists(any_sections, min_size=1, max_size=6))
def test_remembered_parts_add_up_to_what_words_say(told: list[Sections]) -> None:
    student = TextStudent(WEIGHTS, WORDS, kept=4)  # fewer than the parts there are
    for one in (*told, *told):
        np.testing.assert_allclose(
            student.embed(one), from_scratch(WEIGHTS, one), rtol=1e-4, atol=1e-5
        )


def test_what_it_answers_is_not_what_it_remembers() -> None:
    student = TextStudent(WEIGHTS, WORDS)
    told = sections(session=(0,))
    first = student.embed(told)
    kept = first.copy()
    first += 7.0
    np.testing.assert_array_equal(student.embed(told), kept)


def test_knowing_nothing_is_the_bias() -> None:
    found = TextStudent(WEIGHTS, WORDS).embed(sections())
    np.testing.assert_array_equal(found, WEIGHTS.bias)
    assert found.dtype == np.float32


def test_the_present_counts_otherwise_than_the_past() -> None:
    student = TextStudent(WEIGHTS, WORDS)
    vectors = [
        student.embed(told)
        for told in (
            sections(session=(0, 1)),
            sections(session=(1, 0)),
            sections(before=(0, 1)),
            sections(favourites=(0, 1)),
        )
    ]
    for place, vector in enumerate(vectors):
        assert not any(np.allclose(vector, other) for other in vectors[:place])
