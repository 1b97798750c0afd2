"""Files to read and a small HTTP server on the loopback interface to fetch from."""

from __future__ import annotations

import gzip
import os
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file into the test's folder; gzip it if its name says so."""

    def put(name: str, content: str | bytes) -> Path:
        data = content.encode() if isinstance(content, str) else content
        path = tmp_path / name
        path.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
        return path

    return put


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with the real logs; without SCALREC_DATA such tests are skipped."""
    if "SCALREC_DATA" not in os.environ:
        pytest.skip("SCALREC_DATA does not name a folder with the real logs")
    return Path(os.environ["SCALREC_DATA"])


class FileServer:
    """Serves ``content`` at every path, with ETag and Range, and faults on request.

    Attributes:
        content: the bytes of the file.
        etag: its validator; change it together with the content.
        cut_after: end the connection after that many bytes of the next answer.
        status: answer the next request with this status instead.
        ranges: Range header of each request so far ("" where there was none).
    """

    def __init__(self) -> None:
        self.content = b""
        self.etag = '"one"'
        self.cut_after: int | None = None
        self.status: int | None = None
        self.ignores_ranges = False
        self.ranges: list[str] = []
        self.url = ""


@pytest.fixture
def server() -> Iterator[FileServer]:
    state = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            state.ranges.append(asked)
            if state.status is not None:
                status, state.status = state.status, None
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = 0
            if asked and self.headers.get("If-Range") == state.etag and not state.ignores_ranges:
                start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start and start >= len(state.content):
                self.send_error(416)
                return
            body = state.content[start:]
            self.send_response(206 if start else 200)
            if start:
                last, size = len(state.content) - 1, len(state.content)
                self.send_header("Content-Range", f"bytes {start}-{last}/{size}")
            self.send_header("ETag", state.etag)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if state.cut_after is not None:
                body, state.cut_after = body[: state.cut_after], None
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.url = f"http://127.0.0.1:{http.server_port}/archive.zip"
        yield state
        http.shutdown()
        thread.join()
