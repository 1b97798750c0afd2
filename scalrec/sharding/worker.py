"""The process of one shard: ``python -m scalrec.sharding.worker FOLDER``.

Driver and shard speak by files in the folder, each written whole: the order, "go" and "stop" on
one side; where the shard stands, its records and its report on the other. Settings, with their
secrets, come in the environment.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import msgspec

from loadtest.dashboard.messages import Facts
from loadtest.replay.shards.plan import ShardPlan
from scalrec.options import settings_from
from scalrec.sharding.shard import Shard, ShardOrder, ShardReport, ShardState
from shared.files import write_whole

ORDER, STATE, REPORT, GO, STOP = "order.json", "state.json", "report.json", "go", "stop"
LOOK_S = 0.05  # how soon a shard does as it is told


class ToldOrder(msgspec.Struct, frozen=True):
    """A ShardOrder without its settings, which the environment holds."""

    plan: ShardPlan
    url: str
    bundle: str
    bundle_id: str
    log: str
    run_id: str
    facts: Facts | None


def send_order(folder: Path, order: ShardOrder) -> None:
    """Write an order for ``serve`` of the same folder."""
    told = ToldOrder(
        plan=order.plan,
        url=order.url,
        bundle=str(order.bundle),
        bundle_id=order.bundle_id,
        log=order.log,
        run_id=order.run_id,
        facts=order.facts,
    )
    write_whole(folder / ORDER, msgspec.json.encode(told), fsync=False)


def receive_state(folder: Path) -> ShardState | None:
    """Where its shard stands; None as long as it has not said so."""
    path = folder / STATE
    return msgspec.json.decode(path.read_bytes(), type=ShardState) if path.exists() else None


def receive_report(folder: Path) -> ShardReport | None:
    """What its shard sent back, records included; None as long as it has not ended."""
    path = folder / REPORT
    return msgspec.json.decode(path.read_bytes(), type=ShardReport) if path.exists() else None


def serve(folder: Path) -> None:
    """Do as the order in ``folder`` says, and report there."""
    told = msgspec.json.decode((folder / ORDER).read_bytes(), type=ToldOrder)
    shard = Shard(
        ShardOrder(
            settings=settings_from(),
            plan=told.plan,
            url=told.url,
            bundle=Path(told.bundle),
            bundle_id=told.bundle_id,
            log=told.log,
            run_id=told.run_id,
            facts=told.facts,
        )
    )
    ended = threading.Event()
    # A thread of its own: the shard's loop has none of its time to spare for files.
    listener = threading.Thread(target=_listen, args=(folder, shard, ended), daemon=True)
    listener.start()
    report = shard.run()
    ended.set()
    listener.join()
    write_whole(folder / REPORT, msgspec.json.encode(report), fsync=False)


def _listen(folder: Path, shard: Shard, ended: threading.Event) -> None:
    """Tell where the shard stands, and pass on what it is told, until it has ended."""
    unheard = {GO: shard.go, STOP: shard.stop}
    said: ShardState | None = None
    while not ended.wait(LOOK_S):
        state = shard.state()
        if state != said:
            said = state
            write_whole(folder / STATE, msgspec.json.encode(state), fsync=False)
        for word in [word for word in unheard if (folder / word).exists()]:
            unheard.pop(word)()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
