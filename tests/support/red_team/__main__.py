"""`python -m tests.support.red_team` prints docs/privacy.md."""

import sys

from tests.support.red_team.page import page

if __name__ == "__main__":
    sys.stdout.write(page())
