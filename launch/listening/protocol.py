"""GuardedProtocol: uvicorn's HTTP/1.1 under the deadlines and the bound of ``Connections``."""

from __future__ import annotations

import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from launch.listening.connections import Connections, Phase
from launch.listening.lines import LineBudget
from shared.schemas import PROBLEM_MEDIA_TYPE, ProblemType

_SAID = {
    ProblemType.INVALID_REQUEST: (400, b"Bad Request", "The request is not valid"),
    ProblemType.REQUEST_TIMEOUT: (408, b"Request Timeout", "The request did not come in time"),
    ProblemType.OVERLOADED: (503, b"Service Unavailable", "Too many connections are open"),
}


class GuardedProtocol(H11Protocol):
    """One connection. What goes wrong before a request reaches the application is told as a
    problem document, as everything else is.

    Args:
        connections: of the server.
        lines: bound on what peers can make the server log.
    """

    def __init__(self, *, connections: Connections, lines: LineBudget, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._open = connections
        self._last = False  # the server stops: no further request on this connection
        self.logger = lines.logger

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if not self._open.enter(self, self.loop.time()):
            self._tell(ProblemType.OVERLOADED, "every connection is in use; try again later")

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return  # refused already
        if self._open.phase(self) is Phase.IDLE:
            self._open.move(self, Phase.HEAD, self.loop.time())
        super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        self._note()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._note()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._open.move(self, Phase.WRITING, self.loop.time())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._note()

    def send_400_response(self, msg: str) -> None:
        self._tell(ProblemType.INVALID_REQUEST, msg)

    def shutdown(self) -> None:
        """The server stops: answer what has begun to come in, then close."""
        self._last = True
        begun = bool(self.conn.trailing_data[0]) and self._open.phase(self) is Phase.HEAD
        if self.cycle is not None and not self.cycle.response_complete:
            self._end_after_answer()
        elif not begun:
            super().shutdown()

    def expire(self, phase: Phase) -> None:
        if phase in (Phase.CLOSING, Phase.WRITING):
            self.transport.abort()
        elif phase is Phase.IDLE or (phase is Phase.HEAD and not self.conn.trailing_data[0]):
            self.transport.close()  # nothing was asked
        elif phase is Phase.HEAD or not self.cycle.response_started:
            what = "head" if phase is Phase.HEAD else "body"
            self._tell(ProblemType.REQUEST_TIMEOUT, f"the request's {what} did not come in time")
        else:
            self.transport.close()  # answered before all of its body came

    def make_room(self) -> None:
        self.transport.abort()

    def _note(self) -> None:
        """Find out what the connection waits for now."""
        if self._open.phase(self) is None:
            return
        if self.transport.is_closing():
            phase = Phase.CLOSING
        elif self.flow.write_paused:
            phase = Phase.WRITING
        elif self.conn.their_state is h11.SEND_BODY:
            phase = Phase.BODY
        elif self.cycle is not None and not self.cycle.response_complete:
            phase = Phase.BUSY
        else:
            phase = Phase.IDLE if self.timeout_keep_alive_task is not None else Phase.HEAD
        if self._last and phase in (Phase.BODY, Phase.BUSY):
            self._end_after_answer()
        self._open.move(self, phase, self.loop.time())

    def _end_after_answer(self) -> None:
        """Close after the answer under way; its head says so, if that is not out yet."""
        self.cycle.keep_alive = False

    def _tell(self, type_: ProblemType, detail: str) -> None:
        """Answer in the application's place, and close."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # whatever the application answers, nobody hears it
            self.cycle.message_event.set()
        status, reason, title = _SAID[type_]
        problem = {"type": type_.value, "title": title, "status": status, "detail": detail}
        body = json.dumps({**problem, "instance": ""}).encode()
        headers = [
            (b"content-type", PROBLEM_MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        if type_ is ProblemType.OVERLOADED:
            headers.append((b"retry-after", b"1"))
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            head = h11.Response(status_code=status, headers=headers, reason=reason)
            for event in (head, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        self._open.move(self, Phase.CLOSING, self.loop.time())
