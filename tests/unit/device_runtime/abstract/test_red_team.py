"""Strings made to get past the sanitiser, and innocent ones that it has to leave alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from device_runtime.abstract.sanitise import clean_text
from tests.support.red_team.corpus import (
    innocents,
    kept_from_abstract,
    kept_from_text,
    secrets,
    stays,
)
from tests.support.red_team.page import page

PAGE = Path(__file__).parents[4] / "docs" / "privacy.md"
MIN_SECRETS, MIN_INNOCENTS, MIN_OF_A_KIND = 300, 150, 10
# Let through, whole or in part: spelt out letter by letter, or no form that tells them from words.
KNOWN_MISSES = {
    "ring 555-TAXI-NOW tonight",
    "ring ⅤⅤⅤ 867 5309 tonight",
    "SVNR 65 170839 J 003 ja",
    "mail bob fox at example dot net now",
    "mail b o b f o x @ example . net now",
    "look at e x a m p l e . c o m now",
    "ping AABBCCDDEEFF now",
    "open /en/the green mile now",
    "on the 4th of July in 1990 okay",
    "am vierten Juli 1990 gut",
    "on 平成2年7月4日 okay",
    "at 0704 hours okay",
    "near 51 point 5, minus 0 point 12 okay",
    "near x=51.50 y=-0.12 okay",
    "near CP 75001 okay",
}
# Read as an opaque token, because letters stand on both sides of its digits.
KNOWN_LOSSES = {"Thir13en Ghosts (2001)"}


def test_the_corpus_is_large_and_has_no_string_twice():
    corpus = secrets()
    assert len(corpus) >= MIN_SECRETS
    assert len(innocents()) >= MIN_INNOCENTS
    assert min(Counter(secret.kind for secret in corpus).values()) >= MIN_OF_A_KIND
    assert not [text for text, n in Counter(secret.text for secret in corpus).items() if n > 1]
    # What is no secret is told, or keeping it all back would count as recall.
    assert all(clean_text(secret.text) for secret in corpus if len(secret.frame.split()) > 1)


def test_no_string_of_the_corpus_gets_through_but_those_that_are_known_to():
    through = {secret.text for secret in secrets() if not kept_from_text(secret)}
    assert through == KNOWN_MISSES


@pytest.mark.parametrize("asked", [False, True])
def test_nothing_gets_through_at_the_lowest_level_in_titles_or_queries(asked):
    through = [s.text for s in secrets() if not kept_from_abstract(s, "categories", asked=asked)]
    assert not through


def test_innocent_titles_and_queries_stay_as_they_are():
    assert {text for text in innocents() if not stays(text)} == KNOWN_LOSSES


def test_the_page_says_what_is_measured():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.support.red_team"
