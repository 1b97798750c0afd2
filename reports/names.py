"""What reports call logs, and the answers to a request that they compare."""

from __future__ import annotations

# The fusion of a cached snapshot whose age nothing accounts for.
CACHED = "cached as it is"
# By structure, and what counts and words of the device add to it; candidates the snapshot's.
OWN_SCORE = "own score, same candidates"
# A device that holds no snapshot: its own score over candidates of its own.
ALONE = "device without any cloud"
# Logs as people say their names; one that is not here is called as its file is.
LOGS = {
    "amazon-beauty": "Amazon Beauty",
    "amazon-toys": "Amazon Toys",
    "foursquare-nyc": "Foursquare NYC",
    "movielens-100k": "MovieLens 100K",
    "redial": "ReDial",
}


def log_name(log: str) -> str:
    """A known log by its proper name, another as its file is called."""
    return LOGS.get(log, log)
