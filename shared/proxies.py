"""Which proxy HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY mean for one address.

Each is read as curl, Go and Python's own library agree on: lower case wins over upper case, the
variable of the scheme over ALL_PROXY, an empty one is none. This machine is never asked through a
proxy. What cannot be used is refused by name instead of being ignored or failing later.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Mapping
from importlib.util import find_spec
from urllib.parse import urlsplit

from shared.addresses import is_loopback, masked_address
from shared.errors import ConfigError

_SCHEMES = ("http", "https", "socks5", "socks5h")
_NAME = re.compile(r"[a-z0-9_*?-]+(\.[a-z0-9_*?-]+)*")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def proxy_for(url: str, environ: Mapping[str, str]) -> str | None:
    """The proxy to ask ``url`` (http or https) through; None: none, or ``url`` is malformed.

    Raises:
        ConfigError: a variable that decides this cannot be used; names it.
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None
    if is_loopback(host) or host in ("0.0.0.0", "::"):  # noqa: S104 (asked, not listened on)
        return None
    for kind in (parts.scheme, "all"):
        name, value = _variable(f"{kind}_proxy", environ)
        if value:
            return None if _excepted(host, port, environ) else _usable(name, value)
    return None


def _variable(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """The variable's name as it is set, and its value; lower case first, even if empty."""
    # A web server hands a request's Proxy header to CGI programs as HTTP_PROXY.
    spellings = (
        [name] if name == "http_proxy" and "REQUEST_METHOD" in environ else [name, name.upper()]
    )
    for spelling in spellings:
        if spelling in environ:
            return spelling, environ[spelling].strip()
    return name, ""


def _usable(name: str, value: str) -> str:
    address = value if "://" in value else f"http://{value}"
    shown = f"{name}={masked_address(value)}"
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        well_formed = bool(_NAME.fullmatch(host) or _network(host)) and parts.port != 0
        well_formed = well_formed and value.isascii() and value.isprintable() and " " not in value
    except ValueError:
        well_formed = False
    if not well_formed:
        raise ConfigError(
            f"{shown} is no address of a proxy: write {name}=http://HOST:PORT, or unset it"
        )
    scheme = parts.scheme.lower()
    if scheme == "socks":  # what desktops write
        address, scheme = f"socks5{address[len('socks') :]}", "socks5"
    if scheme not in _SCHEMES:
        raise ConfigError(
            f"{shown} names a proxy of a kind that is not supported: use {', '.join(_SCHEMES)}, "
            f"unset {name}, or name the cloud's host in NO_PROXY"
        )
    if scheme.startswith("socks") and find_spec("socksio") is None:
        raise ConfigError(
            f"{shown} names a SOCKS proxy, which needs a package more: run `pip install socksio`, "
            f"unset {name}, or name the cloud's host in NO_PROXY"
        )
    return address


def _excepted(host: str, port: int, environ: Mapping[str, str]) -> bool:
    name, value = _variable("no_proxy", environ)
    return any(_covers(name, entry, host, port) for entry in re.split(r"[,\s]+", value) if entry)


def _covers(name: str, entry: str, host: str, port: int) -> bool:
    """Whether one entry of NO_PROXY means ``host``."""
    if entry == "*":
        return True
    if entry == "<local>":  # names without a dot, as Windows has it
        return "." not in host and ":" not in host
    pattern = entry.lower().partition("://")[2] or entry.lower()
    network = _network(pattern)
    if network is not None:
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return address in network or (mapped is not None and mapped in network)
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::(\d+))?", pattern)
    named = re.fullmatch(r"([^:/\[\]]+?)\.?(?::(\d+))?", pattern)
    if bracketed is not None and _network(bracketed[1]) is not None:
        return _port_fits(bracketed[2], port) and _covers(name, bracketed[1], host, port)
    if named is not None and named[2] is not None and _network(named[1]) is not None:
        return _port_fits(named[2], port) and _covers(name, named[1], host, port)
    if named is None or not _NAME.fullmatch(named[1].lstrip(".")):
        raise ConfigError(
            f"{name} holds {masked_address(entry)!r}, which is no host, domain, address or network:"
            f" correct {name}, e.g. {name}=localhost,.example.com,10.0.0.0/8,fd00::/8"
        )
    domain, host = named[1].removeprefix("*").lstrip("."), host.lower()
    fits = host.endswith(f".{domain}") or (host == domain and not named[1].startswith("*."))
    fits = fits or ("*" in domain and fnmatch.fnmatchcase(host, domain))
    return fits and _port_fits(named[2], port)


def _port_fits(wanted: str | None, port: int) -> bool:
    return wanted is None or int(wanted) == port


def _network(text: str) -> Network | None:
    """An address or a network, also in macOS's short form (169.254/16); None if it is neither."""
    bracketed = re.fullmatch(r"\[([^\]]*:[^\]]*)\](/\d+)?", text)
    if bracketed is not None:
        text = bracketed[1] + (bracketed[2] or "")
    address, slash, prefix = text.partition("/")
    if slash and re.fullmatch(r"\d+(\.\d+){0,2}", address):
        address += ".0" * (3 - address.count("."))
    try:
        return ipaddress.ip_network(f"{address.partition('%')[0]}{slash}{prefix}", strict=False)
    except ValueError:
        return None
