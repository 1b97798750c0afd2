"""What a fleet process and the live view tell each other."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from loadtest.dashboard.bins import Bin, Counts
from loadtest.timing.switched_availability import Mode
from shared.errors import DataError

TOKEN_HEADER = "x-scalrec-token"  # noqa: S105 - a header's name
MOST_BINS = 5_000
MOST_STATES = 16
Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*$")]
Text = Annotated[str, Meta(max_length=300)]
Seconds = Annotated[float, Meta(ge=0, le=1e8)]
Count = Annotated[int, Meta(ge=0, le=2**48)]
Status = Literal["running", "finished", "stopped"]


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is run; the same for all processes of one run.

    Attributes:
        run: name of the run; its processes share it. Also that of its folder.
        started: Unix seconds.
        width_s: seconds per bin.
        budget: refreshes per request the policy is held to; None if it has no such figure.
        k: of the every-k policy, None for others.
        calibrate: whether stale snapshots are corrected; None where the ranking has no such choice.
        ranking: how devices rank, in words.
        controllable: whether it can be changed by hand.
    """

    run: Name
    started: Annotated[float, Meta(ge=0, le=1e11)]
    log: Text
    policy: Text
    profile: Text
    availability: Text
    clock: Literal["wall", "virtual"]
    window_s: Seconds
    width_s: Annotated[float, Meta(ge=0.1, le=1e7)]
    calibrate: bool | None
    controllable: bool
    ranking: Text = ""
    k: Annotated[int, Meta(ge=1)] | None = None
    budget: float | None = None


class Update(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One process's news. Bins are whole, so that sending one twice changes nothing.

    Attributes:
        shard: name of the process.
        replay_s: seconds into the window.
        devices, due, answered, skipped: devices; requests planned and answered; refreshes not
            started because too many were in flight.
        breakers: links by state.
        whole: whether ``bins`` are all there are, or only those changed since the last update.
        bins: by their number from the window's start.
    """

    facts: Facts
    shard: Name
    status: Status
    replay_s: Seconds
    devices: Count
    due: Count
    answered: Count
    skipped: Count
    cloud_up: bool
    breakers: Counts
    whole: bool
    bins: dict[Annotated[int, Meta(ge=0)], Bin]


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the run shall be from now on; None leaves as it is. Grows in ``revision``."""

    revision: int = 0
    cloud: Mode = "planned"
    k: int | None = None
    calibrate: bool | None = None


class Reply(msgspec.Struct, frozen=True):
    """The answer to an update; ``resend`` asks for all bins."""

    wish: Wish
    resend: bool = False


_DECODER = msgspec.json.Decoder(Update)


def decode_update(data: bytes) -> Update:
    """An update as it came over the wire; raises DataError if it is none."""
    try:
        update = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"no update of a fleet process: {error}") from error
    if any(number >= MOST_BINS for number in update.bins):
        raise DataError(f"a bin beyond number {MOST_BINS}")
    for counts in (update.breakers, *(c for b in update.bins.values() for c in _counts(b))):
        if len(counts) > MOST_STATES or any(len(name) > 32 for name in counts):
            raise DataError("more states than there are")
    return update


def _counts(one: Bin) -> tuple[Counts, ...]:
    return one.breakers, one.age_events, one.refreshes
