from __future__ import annotations

import zlib

import numpy as np
import pytest

from device_runtime.abstract.words import ItemWords
from device_runtime.student.features import EARLIER, LATEST_SAID, PLACES, Part, StudentFeatures
from tests.support.sections import CAFES, sections

ROWS = 16_384
FEATURES = StudentFeatures(ItemWords(CAFES, "items"), ROWS)


def expected(**weighted: float) -> dict[int, float]:
    return {zlib.crc32(token.encode()) % ROWS: weight for token, weight in weighted.items()}


def told(part: Part, features: StudentFeatures = FEATURES) -> dict[int, float]:
    rows, weights = features.tokens(part)
    assert rows.dtype == np.int32
    assert weights.dtype == np.float32
    return dict(zip(rows.tolist(), weights.astype(float).round(6).tolist(), strict=True))


def test_an_item_says_its_name_at_its_place_and_its_words_at_none() -> None:
    assert told(("now2", 1)) == expected(**{"now2|Blue Bottle": 1.0})
    assert told(("now words", 1)) == expected(
        **{"now words|blue": 0.5, "now words|bottle": 0.5, "now words|café": 0.5}
    )


def test_words_of_categories_and_area_are_told_once_each() -> None:
    name = FEATURES._words.of(0).name
    found = told(("favourite", 0)) | told(("favourite words", 0))
    words = ("fat", "cat", "food", "bar", "west", "village", *(["in"] if " in " in name else []))
    wanted = {f"favourite|{name}": 1.0} | {f"favourite words|{word}": 0.5 for word in words}
    assert found == expected(**wanted)


def test_sections_that_are_words_say_them_whole() -> None:
    assert told(("category", "Bar")) == expected(**{"category|Bar": 1.0})
    assert told(("slot", "weekday morning")) == expected(**{"slot|weekday morning": 1.0})


def test_a_query_says_words_pairs_and_its_end() -> None:
    assert told(("query", "like Heat, like")) == expected(
        **{"query|like": 0.7, "query|heat": 0.7},
        **{"query pair|like heat": 0.7, "query pair|heat like": 0.7},
        **{"query end|heat": 0.7, "query end|like": 0.7},
    )
    long = [f"word{n}" for n in range(30)]
    ends = expected(**{f"query end|{word}": 0.7 for word in long[-LATEST_SAID:]})
    found = told(("query", " ".join(long)))
    assert ends.items() <= found.items()
    assert not expected(**{f"query end|{long[-LATEST_SAID - 1]}": 0.7}).keys() & found.keys()


def test_parts_count_places_from_the_end_in_each_section() -> None:
    found = FEATURES.parts(sections(before=(0, 1), session=(1, 2, 0), usual=("Fat Cat",)))
    assert found == [
        ("now0", 0), ("now1", 2), ("now2", 1), ("earlier0", 1), ("earlier1", 0),
        ("now words", 0), ("now words", 2), ("now words", 1),
        ("earlier words", 1), ("earlier words", 0), ("usual", "Fat Cat"),
    ]  # fmt: skip
    many = FEATURES.parts(sections(session=tuple([0, 1] * PLACES)))
    places = [f"now{place}" for place in range(PLACES)]
    assert [name for name, _ in many] == [*places, *(["now words"] * PLACES)]


def test_what_came_before_a_session_is_said_more_quietly_once_it_has_begun() -> None:
    """At its start the past is all there is; then the present counts more than it."""
    assert FEATURES.parts(sections(before=(0, 1))) == [
        ("before0", 1), ("before1", 0), ("before words", 1), ("before words", 0)
    ]  # fmt: skip
    for quiet, loud in (("earlier1", "before1"), ("earlier words", "before words")):
        weights = told((loud, 0))
        assert weights
        assert told((quiet, 0)) == {row: EARLIER * weight for row, weight in weights.items()}


def test_nothing_told_is_no_part() -> None:
    assert FEATURES.parts(sections()) == []
    nameless = StudentFeatures(ItemWords(CAFES, "categories"), ROWS)
    assert told(("now0", 2), nameless) == {}


def test_rows_are_of_the_table() -> None:
    rows, _ = StudentFeatures(ItemWords(CAFES, "items"), 7).tokens(("query", "a b c d e f g h"))
    assert rows.min() >= 0
    assert rows.max() < 7
    with pytest.raises(ValueError, match="rows"):
        StudentFeatures(ItemWords(CAFES, "items"), 0)
