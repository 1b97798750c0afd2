"""`python -m loadtest.proxy`: a fault proxy with Toxiproxy's control API, until interrupted."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from launch.listening.server import GuardedServer, open_listeners
from loadtest.proxy.control import Switchboard, control_app
from loadtest.proxy.proxy import ProxyError
from loadtest.proxy.toxics import ProxySpec
from shared.errors import ConfigError

GRACEFUL_SHUTDOWN_S = 2


def main(arguments: list[str] | None = None) -> None:
    """Read the options, open the proxies of the configuration, serve the control API."""
    options = _parser().parse_args(arguments)
    try:
        specs = _read(options.config)
        asyncio.run(_serve(options.host, options.port, options.seed, specs))
    except (OSError, ValueError, ValidationError, ProxyError, ConfigError) as error:
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
    return parser


def _read(path: Path | None) -> list[ProxySpec]:
    if path is None:
        return []
    return TypeAdapter(list[ProxySpec]).validate_python(json.loads(path.read_text()))


async def _serve(host: str, port: int, seed: int, specs: list[ProxySpec]) -> None:
    board = Switchboard(seed=seed)
    for spec in specs:
        await board.create(spec)
    server = GuardedServer(
        control_app(board),
        open_listeners(host, port, name="--port"),
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_S,
    )
    await server.serve()


if __name__ == "__main__":
    main()
