"""Test-wide set-up."""

import os

# As in scalrec/__main__.py: before anything loads torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
