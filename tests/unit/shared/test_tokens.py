"""Device tokens: what a ring signed opens the cloud for one user, and nothing else does."""

from __future__ import annotations

import base64
import hmac
import json
import math
from pathlib import Path

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from cloud_service.keys import load_keys
from cloud_service.settings import CloudSettings
from shared.errors import ConfigError, TokenRefused
from shared.tokens import AUDIENCE, KEY_BYTES, KeyRing, TokenIssuer, new_key, verify_token

NOW = 1_700_000_000.0
OLD, NEW = new_key("old"), new_key("new")


def ring(*keys: str) -> KeyRing:
    return KeyRing.parse("\n".join(keys), source="test")


def issue(user: str = "ada", *, keys: KeyRing | None = None, ttl_s: float = 60.0) -> str:
    return TokenIssuer(keys or ring(OLD), ttl_s, lambda: NOW).issue(user, "phone")


def reason(token: str, keys: KeyRing | None = None, now: float = NOW) -> str:
    with pytest.raises(TokenRefused) as refusal:
        verify_token(token, keys or ring(OLD), now=now)
    assert token not in str(refusal.value)
    return refusal.value.reason


def test_a_token_names_user_device_and_expiry() -> None:
    claims = verify_token(issue("ada@home"), ring(OLD), now=NOW)
    assert (claims.user, claims.device, claims.expires_s) == ("ada@home", "phone", NOW + 60)


@pytest.mark.parametrize("ttl_s", [math.inf, math.nan, 1e300, 3e11, -1e300])
def test_no_token_is_issued_that_would_be_refused(ttl_s: float) -> None:
    with pytest.raises(ConfigError, match="shorten its life"):
        issue(ttl_s=ttl_s)
    assert verify_token(issue(ttl_s=2.5e11), ring(OLD), now=NOW).expires_s == NOW + 2.5e11


def test_a_file_without_an_end_is_no_file_of_keys() -> None:
    with pytest.raises(ConfigError, match="/dev/zero is larger than any file of keys"):
        load_keys(CloudSettings(auth_keys_file=Path("/dev/zero")))


def test_it_is_an_ordinary_jwt() -> None:
    header = jwt.get_unverified_header(issue())
    assert (header["alg"], header["kid"]) == ("HS256", "old")


def test_it_expires_on_the_second_but_for_the_leeway() -> None:
    token = issue(ttl_s=60.0)
    verify_token(token, ring(OLD), now=NOW + 59.9)
    assert reason(token, now=NOW + 60) == "expired"
    verify_token(token, ring(OLD), now=NOW + 64, leeway_s=5.0)


def test_rotation_accepts_old_tokens_until_their_key_leaves() -> None:
    before = issue(keys=ring(OLD))
    both = ring(NEW, OLD)
    verify_token(before, both, now=NOW)
    after = issue(keys=both)
    assert jwt.get_unverified_header(after)["kid"] == "new"
    assert reason(before, ring(NEW)) == "unknown-key"
    verify_token(after, ring(NEW), now=NOW)


def test_a_key_of_the_same_name_but_other_bytes_does_not_do() -> None:
    assert reason(issue(), ring(new_key("old"))) == "signature"


def test_no_other_algorithm_is_accepted_whatever_the_header_says() -> None:
    claims = {"sub": "ada", "dev": "phone", "aud": AUDIENCE, "exp": NOW + 60}
    key = ring(OLD).signing[1]
    assert reason(jwt.encode(claims, key * 2, algorithm="HS512", headers={"kid": "old"})) in (
        "malformed",
        "signature",
    )
    header, payload = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in ({"alg": "none", "kid": "old", "typ": "JWT"}, claims)
    )
    assert reason(f"{header}.{payload}.") == "malformed"


@pytest.mark.parametrize("missing", ["sub", "dev", "exp", "aud"])
def test_every_claim_is_required(missing: str) -> None:
    claims = {"sub": "ada", "dev": "phone", "aud": AUDIENCE, "exp": NOW + 60}
    del claims[missing]
    key = ring(OLD).signing[1]
    token = jwt.encode(claims, key, algorithm="HS256", headers={"kid": "old"})
    assert reason(token) in ("malformed", "audience")


def test_a_token_for_another_service_is_refused() -> None:
    claims = {"sub": "ada", "dev": "phone", "aud": "elsewhere", "exp": NOW + 60}
    key = ring(OLD).signing[1]
    token = jwt.encode(claims, key, algorithm="HS256", headers={"kid": "old"})
    assert reason(token) == "audience"


@given(st.text(max_size=200) | st.binary(max_size=100).map(lambda b: b.decode("latin-1")))
def test_any_text_is_refused_as_such(text: str) -> None:
    with pytest.raises(TokenRefused):
        verify_token(text, ring(OLD), now=NOW)


@given(st.data())
def test_any_altered_character_is_refused(data: st.DataObject) -> None:
    token = issue()
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("ABCxyz019-_.").filter(lambda c: c != token[place]))
    altered = token[:place] + other + token[place + 1 :]
    try:
        claims = verify_token(altered, ring(OLD), now=NOW)
    except TokenRefused:
        return
    # The last character of a base64 part has spare bits: the same bytes, so the same token.
    assert (claims.user, claims.device) == ("ada", "phone")


def test_an_endless_token_is_refused_before_it_is_read() -> None:
    assert reason("a" * 100_000) == "malformed"


@pytest.mark.parametrize("user", ["", "a/b", "a b", "x" * 129])
def test_no_token_for_what_is_no_user(user: str) -> None:
    with pytest.raises(ConfigError, match="no user id"):
        issue(user)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only words",
        "short:YWJj",
        "nokey",
        "a:%%%%",
        pytest.param(f"bad id:{OLD[4:]}", id="bad id"),  # the key differs from run to run
    ],
)
def test_what_is_no_ring_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ConfigError, match=r"test.*scalrec token keygen") as refusal:
        KeyRing.parse(text, source="test")
    assert OLD[4:] not in str(refusal.value)


def test_a_ring_never_prints_its_keys() -> None:
    assert OLD.partition(":")[2][:8] not in repr(ring(OLD))
    assert len(ring(OLD).signing[1]) == KEY_BYTES
    with pytest.raises(ConfigError, match="old is there twice"):
        ring(OLD, OLD)


def test_keys_come_from_the_setting_or_a_file_not_both(tmp_path: Path) -> None:
    path = tmp_path / "auth.keys"
    path.write_text(f"# newest first\n{NEW}\n{OLD}\n")
    from_file = load_keys(CloudSettings(auth_keys_file=path))
    assert from_file is not None
    assert list(from_file.keys) == ["new", "old"]
    inline = load_keys(CloudSettings(auth_keys=SecretStr(f"{NEW},{OLD}")))
    assert inline == from_file
    assert load_keys(CloudSettings()) is None
    with pytest.raises(ConfigError, match="not both"):
        load_keys(CloudSettings(auth_keys=SecretStr(OLD), auth_keys_file=path))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_keys(CloudSettings(auth_keys_file=tmp_path / "gone"))


def signed(**claims: object) -> str:
    """A token that the ring's key has signed, whatever it says; JSON as Python writes it."""
    good = {"sub": "ada", "dev": "phone", "aud": AUDIENCE, "iat": int(NOW), "exp": int(NOW) + 60}
    head = {"alg": "HS256", "kid": "old"}
    text = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in (head, good | claims)
    )
    signature = hmac.digest(ring(OLD).signing[1], text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


NO_MOMENTS = [
    math.nan, math.inf, -math.inf, 10**400, 2**63, -1, True, False, NOW + 50.5, NOW + 60, 1e300,
    str(int(NOW) + 60), "", None, [], {}, [int(NOW) + 60],
]  # fmt: skip


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", NO_MOMENTS, ids=lambda value: str(value)[:12])
def test_a_moment_is_a_whole_second(claim: str, value: object) -> None:
    with pytest.raises(TokenRefused, match=f"claim {claim} ") as refusal:
        verify_token(signed(**{claim: value}), ring(OLD), now=NOW)
    assert refusal.value.reason == "malformed"


@pytest.mark.parametrize(
    "value", [42, None, True, 1.5, [], ["ada"], {}, "", "a b", "a/b", "a" * 129]
)
@pytest.mark.parametrize("claim", ["sub", "dev"])
def test_a_name_is_a_text_of_its_form(claim: str, value: object) -> None:
    with pytest.raises(TokenRefused) as refusal:
        verify_token(signed(**{claim: value}), ring(OLD), now=NOW)
    assert refusal.value.reason == "malformed"
    assert f"claim {claim} " in str(refusal.value)


@pytest.mark.parametrize("value", [5, {}, None, [], [5], "scalrec", ["scalrec"], True])
def test_an_audience_of_no_or_another_form_opens_nothing(value: object) -> None:
    assert reason(signed(aud=value)) in ("audience", "malformed")


def test_a_token_is_not_good_before_its_time() -> None:
    assert reason(signed(nbf=int(NOW) + 10)) == "not-yet"
    verify_token(signed(nbf=int(NOW) + 4), ring(OLD), now=NOW, leeway_s=5.0)
    verify_token(signed(nbf=int(NOW)), ring(OLD), now=NOW)
