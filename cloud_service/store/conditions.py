"""Why Redis did not do what it was asked: each condition by name, and what to do about it.

`python -m cloud_service.store.conditions` prints the table of docs/redis.md; a test holds it to it.
"""

from __future__ import annotations

import re
import ssl
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    InvalidResponse,
    NoPermissionError,
    RedisError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.errors import StoreUnavailable
from shared.words import as_said

Condition = Literal[
    "timeout",
    "unreachable",
    "tls",
    "not_redis",
    "no_primary",
    "read_only",
    "loading",
    "primary_down",
    "cluster_down",
    "cluster_node",
    "too_few_replicas",
    "memory_full",
    "not_persisting",
    "too_many_clients",
    "protected",
    "busy",
    "password",
    "permission",
    "database",
    "other",
]

KEYS_PATTERN = "scalrec:*"
COMMANDS = ("get", "set", "del", "eval", "evalsha")  # select too, for a database other than 0
ACL_RULES = f"~{KEYS_PATTERN} " + " ".join(f"+{command}" for command in COMMANDS)


@dataclass(frozen=True, slots=True)
class Meaning:
    """Attributes: what is the case, after the word Redis; what to do; lost: see ``LOST``."""

    what: str
    do: str
    lost: bool = False


MEANINGS: Mapping[Condition, Meaning] = {
    "timeout": Meaning(
        "does not answer in time",
        "check that it runs, its load and the network to it",
        lost=True,
    ),
    "unreachable": Meaning(
        "does not answer: no connection, or it was closed",
        "check that it runs and that cloud.redis_url (or REDIS_URL) leads to it",
        lost=True,
    ),
    "tls": Meaning(
        "refuses TLS, or shows a certificate that is not accepted",
        "check its certificate, and rediss:// and the ssl_ options of cloud.redis_url",
    ),
    "not_redis": Meaning(
        "answers, but not as a Redis does",
        "check that cloud.redis_url (or REDIS_URL) leads to a Redis, and to its TLS port only "
        "with rediss://",
        lost=True,
    ),
    "no_primary": Meaning(
        "has no primary that a Sentinel knows of",
        "check the Sentinels, their addresses, their password (sentinel_password) and the name "
        "of the primary in cloud.redis_url",
        lost=True,
    ),
    "read_only": Meaning(
        "is a replica, which takes no writes",
        "wait if it fails over now; else let cloud.redis_url lead to the primary",
        lost=True,
    ),
    "loading": Meaning(
        "is loading its data after a start",
        "wait until it has",
        lost=True,
    ),
    "primary_down": Meaning(
        "is a replica that has lost its primary",
        "wait if it fails over now; else start the primary or promote a replica",
        lost=True,
    ),
    "cluster_down": Meaning(
        "is a cluster that is down, or some of whose slots nobody serves",
        "wait if it fails over now; else look at CLUSTER INFO",
        lost=True,
    ),
    "cluster_node": Meaning(
        "is one node of a cluster and holds some keys only",
        "let cloud.redis_url lead to a proxy of the cluster, or to a Redis that is no cluster",
    ),
    "too_few_replicas": Meaning(
        "takes no writes, as too few replicas follow it (min-replicas-to-write)",
        "start its replicas, or lower that number",
    ),
    "memory_full": Meaning(
        "takes no writes, as its memory is full",
        "set maxmemory-policy to allkeys-lru or volatile-ttl, or raise maxmemory",
    ),
    "not_persisting": Meaning(
        "takes no writes, as it could not write its data to disk",
        "free its disk, or set stop-writes-on-bgsave-error to no, as snapshots may be lost",
    ),
    "too_many_clients": Meaning(
        "refuses connections, as it has as many as it may have",
        "raise its maxclients, or lower cloud.max_in_flight, the most connections of one service",
    ),
    "protected": Meaning(
        "lets in its own machine only (protected mode)",
        "give it a password, or a user with one, and bind it to the network it serves",
    ),
    "busy": Meaning(
        "is busy with a script of somebody, or with moving a slot",
        "look at SLOWLOG and at what else uses it",
    ),
    "password": Meaning(
        "refuses the name or the password in cloud.redis_url (or REDIS_URL)",
        "correct them there, with / ? # @ : percent-encoded, or in Redis",
    ),
    "permission": Meaning(
        "does not let its user do what snapshots need",
        f"allow it in Redis: ACL SETUSER NAME {ACL_RULES}",
    ),
    "database": Meaning(
        "does not have the database that cloud.redis_url names",
        "name another after the last slash; 0 always exists",
    ),
    "other": Meaning("refuses", "look at what it says"),
}
# Another server may be the one to ask: connections are dropped and the address is looked up anew.
LOST = frozenset(name for name, meaning in MEANINGS.items() if meaning.lost)

_BY_CODE: Mapping[str, Condition] = {
    "READONLY": "read_only",
    "LOADING": "loading",
    "MASTERDOWN": "primary_down",
    "CLUSTERDOWN": "cluster_down",
    "MOVED": "cluster_node",
    "ASK": "cluster_node",
    "CROSSSLOT": "cluster_node",
    "NOREPLICAS": "too_few_replicas",
    "OOM": "memory_full",
    "MISCONF": "not_persisting",
    "BUSY": "busy",
    "TRYAGAIN": "busy",
    "NOAUTH": "password",
    "WRONGPASS": "password",
    "NOPERM": "permission",
    "DENIED": "protected",
}
# Where an error comes out of a script, its code stands within the text (before Redis 7).
_CODE = re.compile(rf"(?<![A-Za-z0-9_])({'|'.join(_BY_CODE)}) ")
_BY_WORDS: tuple[tuple[re.Pattern[str], Condition], ...] = (
    (re.compile(r"max(imum)? number of clients"), "too_many_clients"),
    (re.compile(r"in cluster mode"), "cluster_node"),
    (re.compile(r"user executing the script can't|ACL failure in script"), "permission"),
    (re.compile(r"unknown command|command is disabled|not allowed from script"), "permission"),
    (re.compile(r"invalid password|AUTH.* without any password|username-password"), "password"),
    (re.compile(r"DB index|Invalid Database"), "database"),
    (re.compile(r"No connection available"), "timeout"),
)
_COMMAND = re.compile(r"run the '([\w|]+)' command|unknown command [`']([\w|]+)[`']")
_MOST_WORDS = 160


def condition_of(error: BaseException) -> Condition:
    """What an error of redis-py, or of a socket, tells about the server."""
    for cause in _chain(error):
        if isinstance(cause, MasterNotFoundError):
            return "no_primary"
        if isinstance(cause, ssl.SSLError):
            return "tls"
    code = getattr(error, "status_code", None) or ""
    if code in _BY_CODE:
        return _BY_CODE[code]
    text = str(error)
    if found := _CODE.search(text):
        return _BY_CODE[found[1]]
    for pattern, condition in _BY_WORDS:
        if pattern.search(text):
            return condition
    if isinstance(error, NoPermissionError):
        return "permission"
    if isinstance(error, AuthenticationError | AuthenticationWrongNumberOfArgsError):
        return "password"
    if isinstance(error, RedisTimeoutError | TimeoutError):
        return "timeout"
    if isinstance(error, InvalidResponse | ValueError):
        return "not_redis"
    if isinstance(error, OSError | EOFError) or _of_connection(error):
        return "unreachable"
    return "other"


def wrong_kind(error: BaseException) -> bool:
    """Whether the key holds a list, a hash or the like: about that key alone."""
    return isinstance(error, RedisError) and str(error).startswith("WRONGTYPE")


def unavailable(error: BaseException) -> StoreUnavailable:
    """The error in our words, which name no address, no key and no user of ours."""
    condition = condition_of(error)
    what = MEANINGS[condition].what
    if condition == "permission" and (found := _COMMAND.search(str(error))):
        what += f" (it refuses {(found[1] or found[2]).upper()})"
    if condition == "other":
        what += f": {as_said(error, _MOST_WORDS)}"
    return store_unavailable(condition, what)


def store_unavailable(condition: Condition, what: str | None = None) -> StoreUnavailable:
    """The error of a condition, whose words ``what`` may make more exact."""
    meaning = MEANINGS[condition]
    return StoreUnavailable(f"Redis {what or meaning.what}; {meaning.do}", condition)


def conditions_table() -> str:
    """All conditions, as a table in Markdown."""
    rows = [
        f"| `{name}` | Redis {meaning.what} | {meaning.do} | {'yes' if meaning.lost else 'no'} |"
        for name, meaning in MEANINGS.items()
    ]
    return "\n".join(
        ["| condition | what it means | what to do | looked up anew |", "|---|---|---|---|", *rows]
    )


def _of_connection(error: BaseException) -> bool:
    # By name: redis-py's ConnectionError has many kinds, those that tell more came above.
    return any(kind.__name__ == "ConnectionError" for kind in type(error).__mro__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


if __name__ == "__main__":
    sys.stdout.write(conditions_table() + "\n")
