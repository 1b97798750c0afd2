"""Addresses as they are shown: nothing of a secret, and enough to know which it is."""

from __future__ import annotations

import time

import pytest

from shared.addresses import (
    STARS,
    has_http_form,
    is_loopback,
    masked,
    masked_address,
    masked_values,
    unaddressed,
)

SECRET = "canary-7d1f"

SHOWN = [
    ("http://host:80/path", "http://host:80/path"),
    (f"redis://:{SECRET}@host:6379/0", f"redis://{STARS}@host:6379/0"),
    (f"redis://{SECRET}@host", f"redis://{STARS}@host"),
    (f"rediss://u:a@{SECRET}@host/0", f"rediss://{STARS}@host/0"),
    (f"redis://u:a/{SECRET}@host:1/0", f"redis://{STARS}"),
    (f"redis://u:a?{SECRET}@host", f"redis://{STARS}"),
    (f"redis://u:#{SECRET}@host/2", f"redis://{STARS}"),
    (f"http://host/v1?key={SECRET}", f"http://host/v1?{STARS}"),
    (f"http://host?key={SECRET}#x", f"http://host?{STARS}"),
    (f"http://host/#{SECRET}", f"http://host/#{STARS}"),
    (f"HTTPS://u:{SECRET}@[::1]:8/x?y={SECRET}", f"HTTPS://{STARS}@[::1]:8/x?{STARS}"),
    (f"http://host:{SECRET}", f"http://{STARS}"),
    (f"unix://{SECRET}@/run/redis.sock?password={SECRET}", f"unix://{STARS}@/run/redis.sock?{STARS}"),
    (f"redis://u:12/{SECRET}@host", f"redis://{STARS}"),
    (f"http://host?mail=a@{SECRET}", f"http://host?{STARS}"),
    (f"http://host:80?mail=a@{SECRET}", f"http://{STARS}"),
    ("http://[::1]:80/a", "http://[::1]:80/a"),
]  # fmt: skip


@pytest.mark.parametrize(("address", "shown"), SHOWN)
def test_secrets_of_an_address_are_stars(address: str, shown: str) -> None:
    assert masked_address(address) == shown
    assert masked(address) == shown
    assert masked(f"no answer from '{address}' ({address}); see {address}.") == (
        f"no answer from '{shown}' ({shown}); see {shown}."
    )


@pytest.mark.parametrize(
    "address",
    [
        f"redis://u:two words {SECRET}@host",
        f"u:{SECRET}@host:6379",
        f"host:80?key={SECRET}",
        f'http://u:"{SECRET}"@host',
        f"http://u:\n{SECRET}@host",
        f"://{SECRET}@h",
    ],
)
def test_a_malformed_address_tells_no_secret_either(address: str) -> None:
    assert SECRET not in masked_address(address)


def test_words_around_an_address_stay() -> None:
    assert masked("[bold]http://h:1/?a=b[/] is it") == f"[bold]http://h:1/?{STARS}[/] is it"
    assert masked("12:30, a@b, x?y=z") == "12:30, a@b, x?y=z"


def test_values_inside_values_are_masked() -> None:
    error = ValueError(f"http://u:{SECRET}@h")
    nested = {"a": [f"http://h?{SECRET}", ({"b": f"x://{SECRET}@h"},)], "c": 3, "d": error}
    assert SECRET not in str(masked_values(nested))
    assert masked_values(nested)["c"] == 3


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "localhost.", "a.localhost", "127.0.0.1", "127.8.9.1", "127.1",
     "0x7f.1", "::1", "[::1]", "::ffff:127.0.0.1"],
)  # fmt: skip
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "10.0.0.1", "128.1", "localhost.example.com", "local", "deadbeef"]
)
def test_others(host: str) -> None:
    assert not is_loopback(host)


def test_who_stands_outside_learns_no_address() -> None:
    told = unaddressed(
        "embedding server http://10.0.0.5:8000/v1 does not answer; Error 111 connecting to "
        "redis:6379, 10.0.0.5 or [::1]:80: vectors of 12 dimensions, the bundle needs 16"
    )
    assert told == (
        "embedding server (address) does not answer; Error 111 connecting to "
        "(address), (address) or (address): vectors of 12 dimensions, the bundle needs 16"
    )


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://127.0.0.1:8000", True),
        ("HTTPS://u:p@host/v1", True),
        ("http://[::1]:80", True),
        ("http://host:65535", True),
        ("http://host:0", False),
        ("http://host:65536", False),
        ("http://host:-1", False),
        ("http://host:a", False),
        ("http://[::1", False),
        ("http://", False),
        ("host:80", False),
        ("redis://host", False),
        ("", False),
    ],
)
def test_what_may_be_an_http_server(address: str, told: bool) -> None:
    assert has_http_form(address) is told


@pytest.mark.parametrize(
    "text",
    [
        "a" * 60_000 + "://x",
        "://" + "a." * 30_000,
        "http://x" + ")" * 60_000 + "x",
        "http://x" + "[/" * 30_000 + "]" * 60_000,
        "http://x " + "-" * 60_000,
    ],
    ids=["letters", "names", "closing marks", "tags", "dashes"],
)
def test_a_text_that_a_stranger_made_long_takes_no_time(text: str) -> None:
    """The path of a request is one, and whoever sends it needs no token."""
    began = time.process_time()
    masked(text)
    unaddressed(text)
    assert time.process_time() - began < 2.0


def test_marks_and_tags_after_an_address_stay() -> None:
    told = (
        f"see ([bold]http://u:{SECRET}@host/x[/bold]). [link]http://h?{SECRET}[/]; ://a:{SECRET}@b"
    )
    stars = f"see ([bold]http://{STARS}@host/x[/bold]). [link]http://h?{STARS}[/]; ://{STARS}@b"
    assert masked(told) == stars
