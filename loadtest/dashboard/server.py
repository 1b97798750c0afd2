"""LiveServer: the live view on a thread of its own, so that no page ever delays a device."""

from __future__ import annotations

from threading import Thread

from launch.listening.server import GuardedServer, open_listeners
from loadtest.dashboard.app import LiveView

STOP_S = 5.0
MOST_CONNECTIONS = 256


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
        sockets = open_listeners(self._host, self._port, name="dashboard.port")
        port = sockets[0].getsockname()[1]
        self._server = GuardedServer(
            self._view.app,
            sockets,
            most=MOST_CONNECTIONS,
            with_signals=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self._thread = Thread(target=self._server.run, name="live view", daemon=True)
        self._thread.start()
        name = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"http://{name}:{port}"
        return self

    def __exit__(self, *error: object) -> None:
        self._view.closing = True
        self._server.should_exit = True
        self._thread.join(STOP_S)
