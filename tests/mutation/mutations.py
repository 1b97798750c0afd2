"""The defects that are seeded, each by replacing one piece of text, and the checks they meet."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Mutation(NamedTuple):
    """One defect.

    Attributes:
        name: in words.
        file: from the root of the checkout.
        old: stands in the file exactly once.
        new: takes its place.
        checks: of CHECKS, that the code is put to beside the first.
    """

    name: str
    file: str
    old: str
    new: str
    checks: tuple[str, ...]


MUTATIONS = (
    Mutation(
        "the device takes snapshots older than its own",
        "device_runtime/device.py",
        "if held is not None and snapshot.version <= held.cached.snapshot.version:",
        "if held is None and snapshot.version < 0:",
        ("device",),
    ),
    Mutation(
        "the device does not look whose snapshot it is",
        "shared/snapshot.py",
        "if snapshot.user != user:",
        "if not snapshot.user:",
        ("snapshot",),
    ),
    Mutation(
        "a snapshot's checksum is not verified",
        "shared/snapshot.py",
        "if zlib.crc32(body, zlib.crc32(_HEADER.pack(magic, fmt, version, 0))) != crc:",
        "if crc < 0:",
        ("snapshot",),
    ),
    Mutation(
        "the store hands out another user's blob",
        "cloud_service/store/snapshot_store.py",
        "return self._blobs.get((user, bundle_id))",
        "return next(iter(self._blobs.values()), None)",
        ("cloud",),
    ),
    Mutation(
        "Redis' keys do not name the user",
        "cloud_service/store/snapshot_store.py",
        'return f"scalrec:{{{user}}}:snapshot:{bundle_id}"',
        'return f"scalrec:{{user}}:snapshot:{bundle_id}"',
        ("cloud",),
    ),
    Mutation(
        "Redis' keys never expire",
        "cloud_service/store/scripts.py",
        "ARGV[1], 'PX', ARGV[2])",
        "ARGV[1])",
        ("cloud",),
    ),
    Mutation(
        "the store takes an older snapshot over a newer one",
        "cloud_service/store/snapshot_store.py",
        "if current is not None and not replaces(blob, current, self._window_ms):",
        "if current is not None and not blob:",
        ("cloud",),
    ),
    Mutation(
        "equal requests of different users share one computation",
        "cloud_service/snapshot_service.py",
        "flight = (user, step, hashlib",
        'flight = ("", step, hashlib',
        ("service",),
    ),
    Mutation(
        "a token opens every user's snapshot",
        "cloud_service/http/security.py",
        "if caller.user == user:",
        "if caller.user:",
        ("service",),
    ),
    Mutation(
        "the link has no deadline",
        "device_runtime/cloud/link.py",
        "async with asyncio.timeout_at(deadline):",
        "async with asyncio.timeout_at(None):",
        ("device",),
    ),
    Mutation(
        "the link does not wait as long as the cloud asks",
        "device_runtime/cloud/link.py",
        "pause = (at_least or 0.0) + full_jitter(",
        "pause = full_jitter(",
        ("device",),
    ),
    Mutation(
        "the breaker never opens",
        "device_runtime/cloud/breaker.py",
        "self._opened_at = now",
        "self._opened_at = None",
        ("device",),
    ),
    Mutation(
        "the correction is not bounded",
        "device_runtime/ranking/calibration.py",
        "lam = min(1.0, gamma_max * float(np.asarray(alpha)) / (length + EPS))",
        "lam = 1.0",
        ("device",),
    ),
    Mutation(
        "setting the device's clock ages its snapshot",
        "device_runtime/device.py",
        "self._steady = steady or clock or MonotonicClock()",
        "self._steady = clock or UnixClock()",
        ("device",),
    ),
)

CHECKER = "checker"
_SCENARIOS = "tests/integration/test_scenarios_virtual.py"
_HOLDS = f"{_SCENARIOS}::test_every_request_is_answered_and_the_history_holds"
_DEVICE = "tests/unit/device_runtime"
# Name: what it is, and the tests. None of them is slow.
CHECKS: dict[str, tuple[str, tuple[str, ...]]] = {
    CHECKER: (
        "histories of scenarios on the virtual clock",
        (
            f"{_HOLDS}[brown-out]",
            f"{_HOLDS}[thundering-return]",
            f"{_SCENARIOS}::test_a_clock_that_jumps_changes_no_age_and_asks_for_no_refresh",
        ),
    ),
    "device": (
        "tests of device and link",
        (
            f"{_DEVICE}/test_device.py",
            f"{_DEVICE}/cloud/test_link.py",
            f"{_DEVICE}/cloud/test_breaker.py",
            f"{_DEVICE}/ranking/test_calibration.py",
        ),
    ),
    "cloud": (
        "tests of the store, in memory and in a real Redis",
        (
            "tests/integration/test_cloud_redis_store.py",
            "tests/property/test_snapshot_store.py",
        ),
    ),
    "service": (
        "tests of the service over HTTP",
        (
            "tests/unit/cloud_service/routes/test_snapshots.py",
            "tests/unit/cloud_service/http/test_security.py",
        ),
    ),
    "snapshot": (
        "tests of the snapshot's codec",
        (
            "tests/unit/shared/test_snapshot.py",
            "tests/property/test_snapshot.py::test_every_altered_byte_is_detected",
        ),
    ),
}


def apply(mutation: Mutation, root: Path) -> None:
    """Put the defect into a copy of the code; raises ValueError if its place is not found."""
    path = root / mutation.file
    text = path.read_text()
    if (count := text.count(mutation.old)) != 1:
        raise ValueError(f"{mutation.name}: {mutation.old!r} stands {count} times in {path}")
    path.write_text(text.replace(mutation.old, mutation.new))
