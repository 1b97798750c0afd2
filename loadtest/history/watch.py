"""WatchedTransport and WatchedStore: pass everything on, and take it down."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

import msgspec

from device_runtime.cloud.transport import CloudTransport, TransportResponse
from loadtest.faults.parts import Store
from loadtest.history.log import HistoryLog
from loadtest.history.records import CANCELLED, NO_ANSWER, AttemptRecord, WriteRecord
from shared.errors import SnapshotError
from shared.schemas import STALE_HEADER, STORED_HEADER
from shared.snapshot import Snapshot, decode

_PATH = re.compile(r"^/v1/users/([^/]+)/snapshot$")
_TELLTALE = re.compile(
    r"\w@\w|://"  # addresses
    r"|\d{7,}"  # epoch stamps, telephone numbers, numeric ids
    r"|\d:[0-5]\d|\d{4}-\d\d-\d\d"  # clock times, dates
    r"|\d\.\d{4,}"  # coordinates
)


class WatchedTransport:
    """A way to the cloud whose every request and answer is taken down.

    Args:
        inner: the way, with all faults on it.
        log: gets one record per request.
        link: number of the way.
    """

    def __init__(self, inner: CloudTransport, log: HistoryLog, link: int) -> None:
        self._inner = inner
        self._log = log
        self._link = link

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        content: bytes,
        timeout_s: float,
    ) -> TransportResponse:
        sent_s, response, status = self._log.now(), None, CANCELLED
        try:
            response = await self._inner.request(
                method, path, headers=headers, content=content, timeout_s=timeout_s
            )
            status = response.status
        except Exception:
            status = NO_ANSWER
            raise
        finally:
            # Recorded when cancelled, too: the request has left the device.
            self._log.attempt(self._record(path, headers, content, sent_s, status, response))
        return response

    async def rebuild(self) -> None:
        await self._inner.rebuild()

    async def aclose(self) -> None:
        await self._inner.aclose()

    def _record(
        self,
        path: str,
        headers: Mapping[str, str],
        content: bytes,
        sent_s: float,
        status: int,
        response: TransportResponse | None,
    ) -> AttemptRecord:
        named = _PATH.match(path)
        body = _members(content)
        answered = {} if response is None else response.headers
        came = _snapshot(response.content) if response is not None and status == 200 else None
        step = body.get("step", -1) if body is not None else -1
        return AttemptRecord(
            link=self._link,
            user=unquote(named[1]) if named else path,
            sent_s=sent_s,
            done_s=self._log.now(),
            status=status,
            retry_after="retry-after" in answered,
            fields="?" if body is None else ",".join(sorted(body)),
            headers=",".join(sorted(name.lower() for name in headers)),
            clean=body is not None and is_clean(body.get("abstract")),
            step=step if isinstance(step, int) else -1,
            request_bytes=len(content),
            intact=came is not None,
            blob_user="" if came is None else came.user,
            blob_tau=-1 if came is None else came.tau,
            blob_version=0 if came is None else came.version,
            bundle="" if came is None else came.bundle_id,
            stale=answered.get(STALE_HEADER.lower()) == "true",
            stored=answered.get(STORED_HEADER.lower(), "true") != "false",
        )


class WatchedStore:
    """A snapshot store whose every write is taken down; methods as of the one it stands before."""

    def __init__(self, inner: Store, log: HistoryLog) -> None:
        self._inner = inner
        self._log = log

    async def get(self, user: str, bundle_id: str) -> bytes | None:
        return await self._inner.get(user, bundle_id)

    async def put_if_newer(self, user: str, bundle_id: str, blob: bytes) -> bool:
        written = await self._inner.put_if_newer(user, bundle_id, blob)
        came = _snapshot(blob)
        self._log.write(
            WriteRecord(
                at_s=self._log.now(),
                change="put" if written else "refused",
                user=user,
                intact=came is not None,
                blob_user="" if came is None else came.user,
                blob_version=0 if came is None else came.version,
                created_ms=0 if came is None else came.created_ms,
            )
        )
        return written

    async def discard(self, user: str, bundle_id: str, blob: bytes) -> None:
        await self._inner.discard(user, bundle_id, blob)

    async def ping(self) -> None:
        await self._inner.ping()

    async def aclose(self) -> None:
        await self._inner.aclose()

    def emptied(self) -> None:
        """Take down that the store has lost everything."""
        self._log.write(WriteRecord(self._log.now(), "emptied", "", True, "", 0, 0))


def _snapshot(blob: bytes) -> Snapshot | None:
    try:
        return decode(blob)
    except SnapshotError:
        return None


def _members(content: bytes) -> dict[str, object] | None:
    try:
        body = msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def is_clean(abstract: object) -> bool:
    """Whether the abstract is words that name no person, exact moment or place.

    Simpler than the device's own sanitiser, and on purpose not that code: one checks the other.
    """
    return isinstance(abstract, str) and _TELLTALE.search(abstract) is None
