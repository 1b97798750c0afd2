import json
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_service.embedding.server_words import MOST_CHARS, server_words

TEXT = "Visits the Marigold clinic on Tuesdays; likes jazz."


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"error": {"message": "CUDA out of memory", "code": 500}}', "CUDA out of memory"),
        ('{"error": "Model is overloaded", "error_type": "overloaded"}', "Model is overloaded"),
        ('{"detail": [{"loc": ["body"], "msg": "field required"}]}', "field required"),
        ('{"message": "EngineDeadError"}', "EngineDeadError"),
        ("Bad Gateway\r\n\x1b[31m", "Bad Gateway [31m"),
        ("", ""),
        ("[" * 100_000, "["),
        ('{"error": {"error": {"error": {"error": {"error": "deep"}}}}}', ""),
    ],
)
def test_keeps_what_servers_say(body: str, words: str) -> None:
    assert server_words(body, [TEXT])[: len(words) or None] == words


def test_is_short_and_plain() -> None:
    said = server_words("failure \n\t\x00\x07 " * 1000, [])
    assert len(said) == MOST_CHARS
    assert said.isprintable()


def test_numbers_in_a_row_may_be_tokens() -> None:
    assert "2054" not in server_words("tokens [101, 2054, 1037, 5095, 102] are bad", [])
    assert "512" in server_words("at most 512 tokens, not 700", [])


ECHOES: tuple[Callable[[str], str], ...] = (
    str,
    repr,
    json.dumps,
    str.upper,
    lambda text: text.encode("unicode_escape").decode(),
    lambda text: "".join(f"&#{ord(c)};" for c in text),
    lambda text: text.replace(" ", "+"),
    lambda text: " ".join(text),
    lambda text: text[1:],
    lambda text: f"<{text}>" * 3,
)


@given(st.data())
def test_no_word_of_an_input_comes_back(data: st.DataObject) -> None:
    words = st.text(alphabet="abcdefghijklmnopqrstuvwxyzäßжш東", min_size=5, max_size=12)
    words = words.map("qz{}".format)  # none that is common in errors
    sent = data.draw(st.lists(words, min_size=1, max_size=12))
    text = " ".join(sent)
    echo = data.draw(st.sampled_from(ECHOES))
    said = server_words(f'error in "{echo(text)}" of a batch', [text])
    assert "error in" in said
    left = set(re.findall(r"\w+", said.casefold())) - {"error", "in", "of", "a", "batch"}
    assert not {word for word in left if any(word in one.casefold() for one in sent)}
