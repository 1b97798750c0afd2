"""What reports call the answers to a request that are compared with the calibrated one."""

from __future__ import annotations

# The fusion of a cached snapshot whose age nothing accounts for.
CACHED = "cached as it is"
# By structure, and what counts and words of the device add to it; candidates the snapshot's.
OWN_SCORE = "own score, same candidates"
# A device that holds no snapshot: its own score over candidates of its own.
ALONE = "device without any cloud"
