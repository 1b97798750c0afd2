"""LiveServer: the live view on a thread of its own, so that no page ever delays a device."""

from __future__ import annotations

import socket
from threading import Thread

import uvicorn

from loadtest.dashboard.app import LiveView
from shared.errors import ConfigError

STOP_S = 5.0


class LiveServer:
    """Serves a LiveView while it is entered.

    Args:
        view: the application.
        host, port: where to listen; port 0 takes a free one.

    Raises:
        ConfigError: the address cannot be listened on (raised on entering).
    """

    def __init__(self, view: LiveView, host: str, port: int) -> None:
        self._view = view
        self._host = host
        self._port = port
        self.url = ""

    def __enter__(self) -> LiveServer:
        self._socket = _listen(self._host, self._port)
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._view.app,
                log_level="warning",
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                timeout_graceful_shutdown=1,
                limit_concurrency=256,
            )
        )
        self._thread = Thread(
            target=self._server.run, args=([self._socket],), name="live view", daemon=True
        )
        self._thread.start()
        name = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"http://{name}:{self._socket.getsockname()[1]}"
        return self

    def __exit__(self, *error: object) -> None:
        self._view.closing = True
        self._server.should_exit = True
        self._thread.join(STOP_S)
        self._socket.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        [(family, kind, proto, _, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listener = socket.socket(family, kind, proto)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ConfigError(
            f"the live view cannot listen on {host}:{port} ({error.strerror or error}); choose "
            "another dashboard.port, or 0 for a free one"
        ) from error
    return listener
