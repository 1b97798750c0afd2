"""Words about items."""

from __future__ import annotations

import pytest

from training.data.text import MAX_TEXT_CHARS, UNKNOWN_ITEM, clean, describe, from_id, is_opaque


@pytest.mark.parametrize(
    "item_id",
    ["1193", "B004756YJA", "49bbd6c0f964a520f4531fe3", "tt0133093", "", "deadbeef", "a_1"],
)
def test_opaque_ids_never_become_words(item_id):
    assert is_opaque(item_id)
    assert from_id(item_id).text == UNKNOWN_ITEM


@pytest.mark.parametrize("item_id", ["The Matrix (1999)", "Radiohead", "Café Blå", "blink 182"])
def test_ids_that_are_words_stay(item_id):
    assert from_id(item_id).title == item_id


def test_text_is_one_bounded_printable_line():
    assert clean("a\x00b\n\tc  d\x1b[0m", 100) == "a b c d [0m"
    assert len(describe("t", more="word " * 10_000).text) <= MAX_TEXT_CHARS


def test_description_joins_what_there_is():
    item = describe("Fat Cat", categories=("Arts", "Jazz", "Jazz", ""), area="New York, NY")
    assert item.text == "Fat Cat. Arts, Jazz. New York, NY"
    assert item.categories == ("Arts", "Jazz")
