"""RequestGate finds requests however their bytes are cut, and changes none that pass."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.proxy.request_gate import RequestGate, Step
from loadtest.proxy.toxics import Toxic

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
FAIL = Toxic(type="http_fail", attributes={"status": 503})
HALF = Toxic(type="http_fail", toxicity=0.5, attributes={"status": 500})


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(edges)]


def steps(gate: RequestGate, parts: list[bytes]) -> list[Step]:
    return [step for part in parts for step in gate.feed(part)]


@given(
    st.lists(st.sampled_from([GET, POST, CHUNKED]), min_size=1, max_size=6),
    st.lists(st.integers(0, 10_000), max_size=12),
    st.integers(0, 1000),
)
def test_each_request_passes_whole_or_is_answered_however_it_is_cut(
    requests: list[bytes], places: list[int], seed: int
) -> None:
    gate = RequestGate(Random(seed))
    gate.toxics = [HALF]
    luck = Random(seed)
    kept = [r for r in requests if luck.random() >= 0.5]
    done = steps(gate, cut(b"".join(requests), places))
    assert b"".join(step.data for step in done) == b"".join(kept)
    assert sum(step.answer.startswith(b"HTTP/1.1 500 ") for step in done) == len(requests) - len(
        kept
    )


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_without_toxics_nothing_is_held_or_changed(data: bytes, places: list[int]) -> None:
    gate = RequestGate(Random(0))
    for part in cut(data, places):
        assert b"".join(step.data for step in gate.feed(part)) == part


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02", b"*1\r\n$4\r\nPING\r\n", b"PING\r\n", b"GET key\r\n", b"get /"]
)
def test_another_protocol_passes_even_under_a_toxic(data: bytes) -> None:
    gate = RequestGate(Random(0))
    gate.toxics = [FAIL]
    assert b"".join(step.data for step in steps(gate, [data, data])) == data + data


def test_a_head_without_end_is_given_up_on_at_a_bound() -> None:
    gate = RequestGate(Random(0))
    gate.toxics = [FAIL]
    sent = b"GET / HTTP/1.1\r\nX: " + b"y" * 200_000
    passed = b"".join(step.data for step in steps(gate, cut(sent, list(range(0, 200_000, 999)))))
    assert passed == sent


def test_a_client_that_waits_to_be_told_to_go_on_is_answered_and_let_go() -> None:
    gate = RequestGate(Random(0))
    gate.toxics = [FAIL]
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    answered, end = steps(gate, [head])
    assert answered.answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"Connection: close" in answered.answer
    assert end.reset


def test_a_request_that_began_before_the_toxic_is_let_through() -> None:
    gate = RequestGate(Random(0))
    first = steps(gate, [POST[:30]])
    gate.toxics = [FAIL]
    assert b"".join(s.data for s in [*first, *steps(gate, [POST[30:]])]) == POST
    assert steps(gate, [POST])[-1].answer
