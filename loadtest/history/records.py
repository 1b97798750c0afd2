"""What a history adds to the records of requests and refreshes: the wire, and the store."""

from __future__ import annotations

from typing import NamedTuple

ATTEMPTS = "attempts.parquet"
WRITES = "writes.parquet"

NO_ANSWER = 0  # status of an attempt that ended without one
CANCELLED = -1  # status of an attempt whose device gave up first


class AttemptRecord(NamedTuple):
    """One HTTP request that left a device, and what came back.

    Attributes:
        link: which of the fleet's links it went over.
        user: the user the path names, as the cloud knows it; the path itself if it names none.
        sent_s, done_s: seconds of the replay; negative in the warm-up.
        status: HTTP status, NO_ANSWER or CANCELLED.
        retry_after: whether the answer said when to come back.
        fields: names of the JSON body's members, sorted, comma between; "?" if it is no object.
        headers: lower-case names of the headers, sorted, comma between.
        clean: the abstract is text without addresses, exact times, coordinates or long numbers.
        step: of the body; -1 if it has none.
        request_bytes: of the body.
        intact: the answer is a whole snapshot (checksum, header and body agree).
        blob_user, blob_tau, blob_version, bundle: of that snapshot.
        stale: the cloud marked it as a stand-in.
        stored: the cloud's store took it.
    """

    link: int
    user: str
    sent_s: float
    done_s: float
    status: int
    retry_after: bool
    fields: str
    headers: str
    clean: bool
    step: int
    request_bytes: int
    intact: bool
    blob_user: str
    blob_tau: int
    blob_version: int
    bundle: str
    stale: bool
    stored: bool


class WriteRecord(NamedTuple):
    """One change of the snapshot store.

    Attributes:
        at_s: seconds of the replay.
        change: ``put``; ``refused`` (something newer was there); ``emptied`` (all data lost).
        user: whose key was written.
        intact: the blob is a whole snapshot.
        blob_user, blob_version, created_ms: of it.
    """

    at_s: float
    change: str
    user: str
    intact: bool
    blob_user: str
    blob_version: int
    created_ms: int
