"""The `scalrec` program, and `python -m scalrec`."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Set what torch's thread library reads when it is loaded, then run the command line.

    Its threads spin while they wait for each other. With as many of them as cores, anything else
    that runs makes each wait last a whole time slice: training slows down tenfold and more.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _look_for_the_rooms()
    if sys.argv[1:2] == ["doctor"] and not {"-h", "--help"} & set(sys.argv):
        _look_at_the_machine()
    try:
        from scalrec.cli import run
    except ImportError as error:
        from scalrec.machine import cannot_start

        sys.exit(cannot_start(error))
    run()


def _look_for_the_rooms() -> None:
    """End if Python would import another project's packages in place of ours."""
    from scalrec.rooms import check_rooms

    try:
        check_rooms()
    except ImportError as error:
        sys.exit(f"scalrec cannot start: {error}")


def _look_at_the_machine() -> None:
    """Say what is wrong with it, and end if so: the rest could not even be loaded."""
    from scalrec.machine import problems

    found = list(problems())
    for problem in found:
        print(f"✗ {problem}", file=sys.stderr)  # noqa: T201  the console may be what is broken
    if found:
        sys.exit(1)


if __name__ == "__main__":
    main()
