"""The `scalrec` program, and `python -m scalrec`."""

from __future__ import annotations

import os
from typing import NoReturn


def main() -> NoReturn:
    """Set what torch's thread library reads when it is loaded, then run the command line.

    Its threads spin while they wait for each other. With as many of them as cores, anything else
    that runs makes each wait last a whole time slice: training slows down tenfold and more.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from scalrec.cli import run

    run()


if __name__ == "__main__":
    main()
