"""`python -m loadtest.proxy`: a fault proxy with Toxiproxy's control API, until interrupted."""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from launch.listening.server import GuardedServer, open_listeners
from loadtest.proxy.control import Switchboard, control_app
from loadtest.proxy.gate import is_plain_loopback, read_token
from loadtest.proxy.proxy import ProxyError
from loadtest.proxy.toxics import ProxySpec
from shared.errors import ConfigError

GRACEFUL_SHUTDOWN_S = 2
MAX_CONNECTIONS = 100  # of the control API


def main(arguments: list[str] | None = None) -> None:
    """Read the options, open the proxies of the configuration, serve the control API."""
    options = _parser().parse_args(arguments)
    try:
        token = _token(options)
        specs = _read(options.config)
        asyncio.run(_serve(options, specs, token))
    except (ConfigError, OSError, ValueError, ValidationError, ProxyError) as error:
        raise SystemExit(f"fault proxy: {error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.proxy",
        description="TCP proxies with Toxiproxy's toxics behind Toxiproxy's HTTP control API.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="control API address (%(default)s)")
    parser.add_argument("--port", type=int, default=8474, help="control API port (%(default)s)")
    parser.add_argument(
        "--config", type=Path, help="JSON list of {name, listen, upstream}, as Toxiproxy's -config"
    )
    parser.add_argument("--seed", type=int, default=0, help="of toxicity and jitter (%(default)s)")
    parser.add_argument(
        "--token-file", type=Path, help="whoever calls the control API shows the token in this file"
    )
    parser.add_argument(
        "--no-token", action="store_true", help="let everybody on this machine in (loopback only)"
    )
    parser.add_argument(
        "--name", action="append", default=["proxy"], metavar="HOST",
        help="a host name by which the control API is called, beside this machine's own and "
        "`proxy`; may be given again",
    )  # fmt: skip
    parser.add_argument(
        "--make-on", metavar="HOST",
        help="let callers make proxies that listen on this host and lead to it (default: the "
        "proxies of --config are all there are)",
    )  # fmt: skip
    return parser


def _token(options: argparse.Namespace) -> str | None:
    """The token to ask for; raises ConfigError where none is named and strangers could call."""
    if options.token_file is not None:
        return read_token(options.token_file)
    if not options.no_token or not is_plain_loopback(options.host):
        raise ConfigError(
            "the control API can cut and delay everything that passes: name a file with a token "
            "by --token-file PATH, or on a loopback address say --no-token"
        )
    return None


def _read(path: Path | None) -> list[ProxySpec]:
    if path is None:
        return []
    return TypeAdapter(list[ProxySpec]).validate_python(json.loads(path.read_text()))


async def _serve(options: argparse.Namespace, specs: list[ProxySpec], token: str | None) -> None:
    board = Switchboard(seed=options.seed, host=options.make_on)
    for spec in specs:
        await board.create(spec)
    names = {*options.name, options.host, socket.gethostname()}
    server = GuardedServer(
        control_app(board, token=token, names=names),
        open_listeners(options.host, options.port, name="--port"),
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_S,
    )
    await server.serve()


if __name__ == "__main__":
    main()
