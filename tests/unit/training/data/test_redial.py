"""ReDial: events, queries that know nothing of what follows, and film text."""

from __future__ import annotations

import json
import re
import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_runtime.abstract.sanitise import clean_text, identifiers
from device_runtime.abstract.writer import TemplateAbstract
from loadtest.evaluation.log_requests import LogRequests
from shared.errors import DataError
from shared.profile import DeviceProfile
from training.data import redial
from training.data.registry import load_log
from training.semantic.anchors import Anchors, write_abstracts
from training.settings import LogSettings

FILMS = {
    "100001": "Heat (1995)",
    "100002": "Alien  (1979)",
    "100003": "Why Him%3F (2016)",
    "100004": "Fargo (1996)",
    "100005": "Up (2009)",
}


def dialogue(number, *texts, seeker=1, films=FILMS, **fields):
    messages = [
        {"timeOffset": 0, "text": text, "senderWorkerId": seeker, "messageId": place}
        for place, text in enumerate(texts)
    ]
    return {
        "movieMentions": films,
        "respondentQuestions": [],
        "messages": messages,
        "conversationId": str(number),
        "respondentWorkerId": 99,
        "initiatorWorkerId": seeker,
        "initiatorQuestions": [],
    } | fields


def lines(*dialogues):
    return "".join(json.dumps(one) + "\n" for one in dialogues)


def load(tmp_path, path, **fields):
    return load_log(LogSettings(path=path, **{"min_events": 3} | fields), cache=tmp_path / "cache")


def events(log, user=0):
    rows = range(len(log))[log.events_of(user)]
    return [(log.catalogue.titles[log.item[row]], log.query[row]) for row in rows]


def test_first_mentions_in_order_with_what_was_said_before(tmp_path, write):
    later = dialogue(20, "@100001 again", "And @100004")
    first = dialogue(
        3, "Hi!", "Liked @100002 , @100003 ?", "No, @100002 bored me", "So @100005or not"
    )
    log = load(tmp_path, write("talks.jsonl.gz", lines(later, first)))
    assert events(log) == [
        ("Alien (1979)", "Hi!"),
        ("Why Him? (2016)", "Hi!"),
        (
            "Up (2009)",
            "Hi! Liked Alien (1979) , Why Him? (2016) ? No, Alien (1979) bored me.",
        ),
        ("Heat (1995)", ""),
        ("Fargo (1996)", "Heat (1995) again."),
    ]
    assert (log.name, log.time, log.user_ids) == ("talks", None, ("1",))
    assert "CC BY 4.0" in log.terms
    assert "films have titles alone, no plots" in log.notes


def test_dialogues_are_sessions(tmp_path, write):
    path = write(
        "talks.jsonl",
        lines(
            dialogue(20, "@100001", "@100004", seeker=2),
            dialogue(9, "@100002", seeker=11),
            dialogue(3, "@100005 @100001 @100002", seeker=2),
        ),
    )
    log = redial.load(path, min_events=1)
    assert log.session.tolist() == [0, 0, 0, 1, 1, 0]
    assert log.session_events().tolist() == [0, 1, 2, 0, 1, 0]
    assert load(tmp_path, path).session.tolist() == [0, 0, 0, 1, 1]


def test_only_the_last_messages_and_their_newest_words(tmp_path, write):
    said = [f"{letter * 4} {letter * 5}" for letter in string.ascii_lowercase[:9]]
    log = load(tmp_path, write("t.jsonl", lines(dialogue(1, *said, "@100001 @100002 @100005"))))
    assert log.query[0] == " ".join(f"{text}." for text in said[-redial.QUERY_MESSAGES :])

    long = [" ".join(f"{letter}word" for _ in range(30)) for letter in "xyz"]
    log = load(tmp_path, write("u.jsonl", lines(dialogue(1, *long, "@100001 @100002 @100005"))))
    query = log.query[0]
    assert redial.QUERY_CHARS - 6 <= len(query) <= redial.QUERY_CHARS
    assert query.endswith(" zword.")
    assert set(query.split()) == {"yword", "yword.", "zword", "zword."}


def test_the_oldest_words_of_an_endless_message_go_first(tmp_path, write):
    endless = "early " * 2_000 + "late"
    text = lines(dialogue(1, endless, "@100001 @100002 @100005"))
    assert load(tmp_path, write("t.jsonl", text)).query[0].endswith("early late.")
    text = lines(dialogue(1, "x" * 5_000, "@100001 @100002 @100005"))
    assert load(tmp_path, write("t.jsonl", text)).query[0] == ""


def test_queries_are_sanitised_as_on_the_device(tmp_path, write):
    secret = "Mail jo@x.org or @jo, call 555 123 4567, see www.x.org; @999999 or 100004 at 10:30"
    log = load(tmp_path, write("t.jsonl", lines(dialogue(1, secret, "@100001 @100002 @100004"))))
    assert log.query[0] == "Mail or call , see or at ."
    assert clean_text(log.query[0], forbidden=identifiers(FILMS), max_chars=300) == log.query[0]


def test_numbers_no_one_names_are_no_films(tmp_path, write):
    talk = dialogue(1, "me@163 and @2pm and @777777", "@100001 @100002 @100005")
    log = load(tmp_path, write("t.jsonl", lines(talk)))
    assert len(log) == 3
    untitled = dialogue(2, "@50 is fine", films={"50": None})
    log = load(tmp_path, write("t.jsonl", lines(talk, untitled)))
    assert log.catalogue.titles[log.item[-1]] == "unknown item"


words = st.text(string.ascii_lowercase, min_size=3, max_size=8)
texts = st.lists(st.one_of(words, st.sampled_from([f"@{film}" for film in FILMS])), max_size=5).map(
    " ".join
)


@settings(deadline=None)
@given(talk=st.lists(texts, max_size=12), other=st.lists(texts, max_size=12))
def test_a_query_shows_neither_its_film_nor_anything_later(tmp_path_factory, talk, other):
    path = tmp_path_factory.mktemp("talks") / "t.jsonl"

    def mentions(messages):
        path.write_text(lines(dialogue(1, *messages)))
        try:
            log = redial.load(path, min_events=1)
        except DataError as error:
            assert "no interactions" in str(error)  # noqa: PT017
            return []
        return events(log)

    everything = mentions(talk)
    titles = {title: film for film, title in FILMS.items()}
    own = {re.sub(" +", " ", t.replace("%3F", "?")): film for t, film in titles.items()}
    for title, query in everything:
        assert title not in query
        place = next(i for i, text in enumerate(talk) if f"@{own[title]}" in text.split())
        # Whatever is said from that message on, the query is the same.
        changed = mentions([*talk[:place], f"@{own[title]}", *other])
        assert (title, query) in changed


def test_the_query_reaches_abstracts_and_requests(tmp_path, write):
    talk = dialogue(1, "@100001", "Something with robots?", "@100002", "Slower", "@100004")
    log = load(tmp_path, write("t.jsonl", lines(talk)))
    anchors = Anchors(np.array([0, 0]), np.array([0, 2]))
    writer = TemplateAbstract(log.catalogue)
    first, last = write_abstracts(log, anchors, writer, DeviceProfile())
    assert "Asks" not in first
    assert last.endswith("Asks: Heat (1995). Something with robots? Alien (1979). Slower.")
    assert "Fargo" not in last
    requests = LogRequests(log, models=None)
    assert requests.context(0, 2).query == log.query[2]


INFO = {
    "100001": {
        "name": "Heat (1995)",
        "genre": ["crime", "drama"],
        "plot": "A thief and a detective.",
        "director": ["Michael Mann"],
        "writer": ["Michael Mann"],
        "star": ["Al Pacino", "Robert De Niro"],
        "imdb_id": "tt0113277",
    },
    "100003": {"name": "Why Him%3F (2016)", "genre": [], "plot": ""},
}
TALK = lines(dialogue(1, "@100001 @100002 @100003 @50", films={"50": None, "100002": "Alien"}))


@pytest.mark.parametrize("start", ["", "redial_"])
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_film_text_from_files_beside(tmp_path, write, start, packed):
    write(
        f"{start}movies_with_mentions.csv{packed}",
        "movieId,movieName,nbMentions\n100001,Heat,5\n100003,Why,3\n50,Fifty (2001),1\n",
    )
    write(f"{start}movies_info.json{packed}", json.dumps(INFO))
    log = load(tmp_path, write("talks.jsonl", TALK))
    assert log.catalogue.ids == ("50", "100001", "100002", "100003")
    assert log.catalogue.texts == (
        "Fifty (2001)",
        "Heat (1995). crime, drama. A thief and a detective. Directed by Michael Mann. "
        "Starring Al Pacino, Robert De Niro",
        "Alien",
        "Why Him? (2016)",
    )
    assert "films have titles alone, no plots" not in log.notes


@pytest.mark.parametrize("name", ["films.json", "films.csv"])
def test_film_text_as_named(tmp_path, write, name):
    csv = "movieId,title,genre\n100001,Heat (1995),crime|drama\n100003,Why,\n"
    items = write(name, json.dumps(INFO) if name.endswith("json") else csv)
    log = load(tmp_path, write("talks.jsonl", TALK), items=items)
    heat = log.catalogue.ids.index("100001")
    assert log.catalogue.categories[heat] == ("crime", "drama")


@pytest.mark.parametrize("given", ["train_data.jsonl", "test_data.jsonl"])
def test_the_release_s_other_split_is_read_as_well(tmp_path, write, given):
    write("train_data.jsonl", lines(dialogue(1, "@100001"), dialogue(7, "@100004")))
    write("test_data.jsonl", lines(dialogue(3, "@100002")))
    log = load(tmp_path, tmp_path / given)
    assert [title for title, _ in events(log)] == ["Heat (1995)", "Alien (1979)", "Fargo (1996)"]
    other = {"train_data.jsonl", "test_data.jsonl"} - {given}
    assert f"{other.pop()} beside it read as well" in log.notes


def test_release_form_without_films_or_with_byte_order_mark(tmp_path, write):
    empty = dialogue(1, "Hello", films=[])
    path = write("any name.txt", "\ufeff" + lines(empty, dialogue(2, "@100001 @100002 @100005")))
    assert len(load(tmp_path, path)) == 3


def without(key):
    return {name: value for name, value in dialogue(8, "@100001").items() if name != key}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{", "not a dialogue: Invalid JSON: EOF"),
        ("[]\n", "not a dialogue: Input should be an object"),
        (lines(dialogue("x", "hi")), "not a dialogue: conversationId: Input should be a valid int"),
        (lines(dialogue(-4, "hi")), "not a dialogue: conversationId: Input should be greater than"),
        (lines(dialogue(1 << 63, "hi")), "not a dialogue: conversationId: Input should be less"),
        (lines(dialogue(5, 7)), r"not a dialogue: messages\.0\.text: Input should be a valid str"),
        (lines(dialogue(5, "hi", messages=None)), "not a dialogue: messages: Input should be a"),
        (lines(dialogue(5, "hi", films=["Heat"])), "not a dialogue: movieMentions: Input should"),
        (lines(without("initiatorWorkerId")), "not a dialogue: initiatorWorkerId: Field required"),
        (lines(dialogue(1, "hi")), r"dialogue 1 already stands in t\.jsonl, line 1"),
    ],
)
def test_bad_dialogue_is_named_by_file_and_line(tmp_path, write, bad, message):
    path = write("t.jsonl", lines(dialogue(1, "@100001 @100002 @100005")) + "\n" + bad)
    with pytest.raises(DataError, match=f"{path}, line 3: {message}"):
        load(tmp_path, path)


def test_dialogue_of_both_splits_is_named(tmp_path, write):
    write("train_data.jsonl", lines(dialogue(1, "@100001")))
    path = write("test_data.jsonl", lines(dialogue(2, "@100001"), dialogue(1, "@100002")))
    message = r"train_data\.jsonl, line 1: dialogue 1 already stands in test_data\.jsonl, line 2"
    with pytest.raises(DataError, match=message):
        load(tmp_path, path)


def test_something_else_called_redial_is_refused(tmp_path, write):
    path = write("t.csv", "user,item\n1,2\n")
    with pytest.raises(DataError, match=f"{path}, line 1: not a dialogue"):
        load(tmp_path, path, name="redial")


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ('{"1": {"name": "Heat"},\nf}', r"Invalid JSON: .* at line 2"),
        ('{"1": {"name": "Heat", "genre": "crime"}}', r"1\.genre: Input should be a valid array"),
        ('{"1": {"plot": "A thief"}}', r"1\.name: Field required"),
    ],
)
def test_bad_film_is_named(tmp_path, write, info, message):
    path = write("movies_info.json", info)
    with pytest.raises(DataError, match=f"{path}: {message}"):
        load(tmp_path, write("t.jsonl", TALK))


def test_bad_title_is_named_by_line(tmp_path, write):
    path = write("movies_with_mentions.csv", "movieId,movieName,nbMentions\n1,Heat,1\n,Up,2\n")
    with pytest.raises(DataError, match=f"{path}, line 3: column 'movieId' is empty"):
        load(tmp_path, write("t.jsonl", TALK))


@pytest.mark.slow
@pytest.mark.data
def test_real_dialogues(real_data):
    path = real_data / "redial_partial.jsonl.gz"
    log = redial.load(path, min_events=1)
    assert (int((log.session_events() == 0).sum()), log.n_users, len(log)) == (4_494, 489, 23_680)
    # One film of the 4,221 that dialogues list is never mentioned in a message.
    assert len(log.catalogue) == 4_220
    assert sum(len(text) > len(title) for text, title in _texts(log)) == 4_193
    pairs = zip(log.user.tolist(), log.session.tolist(), log.item.tolist(), strict=True)
    assert len(set(pairs)) == len(log)
    ids = identifiers(log.catalogue.ids)
    for query in log.query:
        assert len(query) <= redial.QUERY_CHARS
        assert "@" not in query
        assert not re.search(r"\d{5}", query)
    for query in log.query[::50]:
        assert clean_text(query, forbidden=ids, max_chars=redial.QUERY_CHARS) == query


def _texts(log):
    return zip(log.catalogue.texts, log.catalogue.titles, strict=True)


@pytest.mark.slow
@pytest.mark.data
def test_real_seekers_with_many_mentions(tmp_path, real_data):
    log = load(tmp_path, real_data / "redial_partial.jsonl.gz", min_events=15)
    assert log.n_users == 256
    assert (log.name, log.time) == ("redial_partial", None)
