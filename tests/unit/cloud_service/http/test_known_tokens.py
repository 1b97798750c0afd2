"""A token is verified once, and never believed for longer than it is good."""

import pytest

from cloud_service.http import security
from cloud_service.http.security import KnownToken, KnownTokens
from shared.schemas import ProblemType
from shared.tokens import KeyRing, TokenClaims, verify_token
from tests.unit.cloud_service.http.test_security import Guarded, guarded
from tests.unit.cloud_service.routes.test_snapshots import assert_problem

__all__ = ["guarded"]


def _known(user: str, expires_s: float = 100.0) -> KnownToken:
    return KnownToken(TokenClaims(user, "main", expires_s), f"pseudonym of {user}")


def test_only_what_was_added_is_found_and_only_until_it_expires() -> None:
    tokens = KnownTokens(leeway_s=5.0)
    tokens.add("a.b.c", _known("ada"))
    assert tokens.find("a.b.c", 0.0) == _known("ada")
    assert tokens.find("a.b.d", 0.0) is None
    assert tokens.find("a.b.c", 104.9) == _known("ada")
    assert tokens.find("a.b.c", 105.0) is None
    assert len(tokens) == 0
    assert "a.b.c" not in repr(vars(tokens))


def test_those_seen_last_are_remembered() -> None:
    tokens = KnownTokens(leeway_s=0.0, most=2)
    tokens.add("one", _known("ada"))
    tokens.add("two", _known("bob"))
    assert tokens.find("one", 0.0) is not None
    tokens.add("three", _known("cleo"))
    assert len(tokens) == 2
    assert tokens.find("two", 0.0) is None
    assert tokens.find("one", 0.0) is not None


async def test_a_token_is_verified_once_and_bound_to_user_and_time_each_time(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[str] = []

    def watched(token: str, ring: KeyRing, *, now: float, leeway_s: float) -> TokenClaims:
        verified.append(token)
        return verify_token(token, ring, now=now, leeway_s=leeway_s)

    monkeypatch.setattr(security, "verify_token", watched)
    token = guarded.token("ada", ttl_s=60.0)
    for _ in range(3):
        assert (await guarded.post("ada", token)).status_code == 200
    assert verified == [token]
    assert_problem(await guarded.post("bob", token), 403, ProblemType.FORBIDDEN)
    guarded.clock[0] += 60.0 + security.LEEWAY_S
    assert_problem(await guarded.post("ada", token), 401, ProblemType.UNAUTHENTICATED)
    for _ in range(2):
        forged = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
        assert_problem(await guarded.post("ada", forged), 401, ProblemType.UNAUTHENTICATED)
    assert verified == [token, token, forged, forged]  # refusals are not remembered
