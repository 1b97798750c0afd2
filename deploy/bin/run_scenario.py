"""`docker compose run --rm loadtest SCENARIO`: one scenario against the running stack.

Faults are done by the fault proxies. The containers of the fleet rest meanwhile.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import turns

SHARED = Path(os.environ.get("SCALREC_RUNS", "/runs"))
COMMAND = (sys.executable, "-m", "scalrec", "loadtest", "run")
CONTROLS = [f"http://control-{hop}:8474" for hop in ("api", "redis", "embedder")]
STACK = ("--cloud", "http://proxy-api:8080", "--fault-proxy", ",".join(CONTROLS))
# The token that the proxies' --token-file names; the original Toxiproxy has none.
TOKEN = Path("/run/secrets/proxy/token")


def main() -> None:
    given = sys.argv[1:]
    if not given or given[0] in ("-h", "--help"):
        sys.exit(subprocess.run([*COMMAND, "--help"], check=False).returncode)
    turns.see_bundles(SHARED)
    print("waiting for the fleet to rest", flush=True)
    with turns.load_test(SHARED):
        # Not replaced by exec: the turn is held by this process. Signals reach the whole group.
        token = ("--fault-proxy-token", str(TOKEN)) if TOKEN.is_file() else ()
        child = subprocess.Popen([*COMMAND, *given, *STACK, *token])
        while True:
            try:
                sys.exit(child.wait())
            except KeyboardInterrupt:
                continue  # the scenario got it as well and is ending in order


if __name__ == "__main__":
    main()
