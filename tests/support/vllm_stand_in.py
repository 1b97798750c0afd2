"""A program that starts like vLLM's server and is ready at once."""

from __future__ import annotations

import sys
from pathlib import Path

_PROGRAM = """#!{python} -IS
import http.server, json, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer({{}})
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.answer({{"data": [{{"embedding": [1.0, 0.0]}}]}})
    def answer(self, body):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def vllm_stand_in(folder: Path) -> Path:
    """What ``embedder.python`` may name instead of an interpreter that has vLLM."""
    python = folder / "python"
    python.write_text(_PROGRAM.format(python=sys.executable))
    python.chmod(0o755)
    return python
