"""Every proxy variable that a shell may hold: used, or refused by its name."""

from __future__ import annotations

import itertools
import sys

import pytest

from shared.errors import ConfigError
from shared.proxies import proxy_for

HTTP, HTTPS = "http://cloud.example.com:8080", "https://cloud.example.com"
PROXY = {"HTTP_PROXY": "http://proxy:3128"}
SECRET = "canary-7d1f"


@pytest.mark.parametrize(
    ("variables", "http", "https"),
    [
        ({}, None, None),
        ({"HTTP_PROXY": "http://p:1"}, "http://p:1", None),
        ({"http_proxy": "http://p:1"}, "http://p:1", None),
        ({"HTTPS_PROXY": "http://p:1"}, None, "http://p:1"),
        ({"https_proxy": "https://p:1"}, None, "https://p:1"),
        ({"ALL_PROXY": "p:1"}, "http://p:1", "http://p:1"),
        ({"all_proxy": "p"}, "http://p", "http://p"),
        ({"HTTP_PROXY": "http://a:1", "http_proxy": "http://b:1"}, "http://b:1", None),
        ({"HTTP_PROXY": "http://a:1", "http_proxy": ""}, None, None),
        ({"HTTP_PROXY": "http://a:1", "ALL_PROXY": "http://b:1"}, "http://a:1", "http://b:1"),
        ({"HTTP_PROXY": "  http://a:1/ \n"}, "http://a:1/", None),
        ({"HTTP_PROXY": "http://u:p%40@a:1"}, "http://u:p%40@a:1", None),
        ({"HTTP_PROXY": "http://[fd00::1]:3128"}, "http://[fd00::1]:3128", None),
        ({"HTTP_PROXY": "HTTP://a:1"}, "HTTP://a:1", None),
        # A web server makes HTTP_PROXY of a request's Proxy header.
        ({"HTTP_PROXY": "http://a:1", "REQUEST_METHOD": "GET"}, None, None),
        ({"FTP_PROXY": "http://a:1", "RSYNC_PROXY": "x"}, None, None),
    ],
)
def test_the_variable_that_applies(
    variables: dict[str, str], http: str | None, https: str | None
) -> None:
    assert proxy_for(HTTP, variables) == http
    assert proxy_for(HTTPS, variables) == https


@pytest.mark.parametrize(
    "value",
    ["http://", "://", "http://p:port", "http://p:99999", "http://p:0", "http://pro xy:1", "p:1:2",
     "http://[::1", "ftp://p:1", "socks4://p:1", "quic://p", "http:///p", "é", "{}", "http://p\x00",
     "none", "http://?x"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_what_names_no_proxy_is_refused_by_name(name: str, value: str) -> None:
    if value == "none":  # a host may be called so
        assert proxy_for(HTTP, {name: value}) == "http://none"
        return
    with pytest.raises(ConfigError, match=name):
        proxy_for(HTTP, {name: value})


def test_the_refusal_tells_no_password() -> None:
    for value in (f"ftp://u:{SECRET}@p:1", f"http://u:{SECRET}@p:port", f"socks4://{SECRET}@p"):
        with pytest.raises(ConfigError) as refusal:
            proxy_for(HTTP, {"HTTP_PROXY": value})
        assert SECRET not in str(refusal.value)


@pytest.mark.parametrize("scheme", ["socks", "socks5", "socks5h"])
def test_socks_is_used_where_it_can_be(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"ALL_PROXY": f"{scheme}://p:1080"}
    monkeypatch.setattr("shared.proxies.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"ALL_PROXY=.*pip install socksio"):
        proxy_for(HTTP, variables)
    monkeypatch.setattr("shared.proxies.find_spec", lambda _: sys.__spec__)
    wanted = "socks5://p:1080" if scheme == "socks" else f"{scheme}://p:1080"
    assert proxy_for(HTTP, variables) == wanted


@pytest.mark.parametrize(
    "url",
    ["http://localhost:8080", "http://127.0.0.1:1", "http://127.9.9.9", "http://[::1]:8080",
     "http://LOCALHOST", "http://a.localhost", "http://127.1", "http://[::ffff:127.0.0.1]",
     "http://0.0.0.0:80", "http://localhost.:1", "https://localhost"],
)  # fmt: skip
def test_this_machine_is_never_asked_through_a_proxy(url: str) -> None:
    variables = dict.fromkeys(("HTTP_PROXY", "https_proxy", "ALL_PROXY"), "nonsense://")
    assert proxy_for(url, variables) is None


@pytest.mark.parametrize(
    ("entry", "url", "excepted"),
    [
        ("*", HTTP, True),
        ("cloud.example.com", HTTP, True),
        ("CLOUD.Example.COM", HTTP, True),
        ("example.com", HTTP, True),
        (".example.com", HTTP, True),
        ("*.example.com", HTTP, True),
        ("*.example.com", "http://example.com", False),
        ("example.com.", HTTP, True),
        ("ample.com", HTTP, False),
        ("other.org", HTTP, False),
        ("cloud.example.com:8080", HTTP, True),
        ("cloud.example.com:9", HTTP, False),
        ("cloud.example.com:80", "http://cloud.example.com", True),
        ("http://cloud.example.com", HTTP, True),
        ("localhost,127.0.0.1,.local, example.com", HTTP, True),
        ("localhost example.com", HTTP, True),
        (",,", HTTP, False),
        ("10.0.0.0/8", "http://10.1.2.3:80", True),
        ("10.0.0.0/8", "http://11.1.2.3", False),
        ("10.1.2.3/8", "http://10.9.9.9", True),
        ("10.1.2.3", "http://10.1.2.3:8080", True),
        ("10.1.2.3:80", "http://10.1.2.3:8080", False),
        ("192.168.*", "http://192.168.7.1", True),
        ("169.254/16", "http://169.254.1.1", True),
        ("fd00::/8", "http://[fd12::1]:8080", True),
        ("fd07:b51a:cc66:0:a617:db5e:ab7:e9f1/64", "http://[fd07:b51a:cc66::1]", True),
        ("fd07:b51a:cc66:0:a617:db5e:ab7:e9f1/64", HTTP, False),
        ("fe80::1", "http://[fe80::1]", True),
        ("[fe80::1]", "http://[fe80::1]:99", True),
        ("[fe80::1]:99", "http://[fe80::1]:98", False),
        ("[fd00::]/8", "http://[fd12::1]", True),
        ("10.0.0.0/8", "http://[::ffff:10.1.1.1]", True),
        ("::/0", "http://10.0.0.1", False),
        ("<local>", "http://cloud:8080", True),
        ("<local>", HTTP, False),
        ("my_host", "http://my_host", True),
    ],
)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_whom_no_proxy_excepts(name: str, entry: str, url: str, excepted: bool) -> None:
    assert proxy_for(url, PROXY | {name: entry}) == (None if excepted else "http://proxy:3128")


@pytest.mark.parametrize(
    "entry", ["10.0.0.0/99", "fd00::/200", "[::1", "a/b", "ex ample!", "a:b:c", "é"]
)
def test_an_entry_of_no_proxy_that_means_nothing_is_refused_where_it_counts(entry: str) -> None:
    with pytest.raises(ConfigError, match="NO_PROXY"):
        proxy_for(HTTP, PROXY | {"NO_PROXY": entry})
    assert proxy_for(HTTP, {"NO_PROXY": entry}) is None  # there is no proxy to except from


def test_no_combination_ends_otherwise() -> None:
    values = [
        "",
        "p:1",
        "http://p",
        "socks5://p",
        "x://",
        "*",
        "fd00::/8",
        "\t",
        "::1",
        "http://[",
        "@",
    ]
    for http, everything, none in itertools.product(values, repeat=3):
        variables = {"HTTP_PROXY": http, "all_proxy": everything, "NO_PROXY": none}
        for url in (HTTP, HTTPS, "http://10.0.0.1", "http://[fd00::1]", "http://[", "x", ""):
            try:
                found = proxy_for(url, variables)
            except ConfigError as refusal:
                assert any(name in str(refusal) for name in variables)  # noqa: PT017
            else:
                assert found is None or "://" in found
