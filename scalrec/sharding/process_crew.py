"""ProcessCrew: shards as processes of this machine."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from launch.process import ChildProcess
from scalrec.options import settings_environment
from scalrec.sharding import worker
from scalrec.sharding.crew import Crew
from scalrec.sharding.shard import ShardOrder
from shared.files import write_whole

POLL_S = 0.1
STOPPED_WITHIN_S = 10.0


class ProcessCrew(Crew):
    """Starts one process per order; each ends with its driver, however that ends.

    Args:
        orders: what each is to do; their plans' numbers name them here.
        logs: folder that gets what the processes print.

    Attributes:
        children: the processes by the shards' numbers.

    Raises:
        LaunchError: a process cannot be started.
    """

    def __init__(self, orders: Sequence[ShardOrder], logs: Path) -> None:
        super().__init__(len(orders))
        self._exchange = tempfile.TemporaryDirectory(prefix="scalrec-shards-")
        self.children: dict[int, ChildProcess] = {}
        try:
            for order in orders:
                self._start(order, logs)
        except BaseException:
            self._end()
            raise

    def _start(self, order: ShardOrder, logs: Path) -> None:
        number = order.plan.number
        folder = self._folder(number)
        worker.send_order(folder, order)
        # One thread each: N processes with a thread per core would wait for one another.
        env = os.environ | settings_environment(order.settings) | {"OMP_NUM_THREADS": "1"}
        child = ChildProcess(
            f"shard {number}",
            [sys.executable, "-m", worker.__name__, str(folder)],
            log=logs / f"shard-{number}.log",
            env=env,
        )
        child.start()
        self.children[number] = child

    def _folder(self, number: int) -> Path:
        return Path(self._exchange.name) / f"{number:03d}"

    def _going(self) -> Sequence[int]:
        return [number for number in self.children if number not in self.reports]

    def _poll(self) -> None:
        time.sleep(POLL_S)
        for number in self._going():
            ended = not self.children[number].running  # asked first: a report comes before the end
            folder = self._folder(number)
            state, report = worker.receive_state(folder), worker.receive_report(folder)
            if state is not None:
                self._states[number] = state
            if report is not None:
                self.reports[number] = report
            elif ended:
                child = self.children[number]
                last = child.log_tail(1)
                self._fail(number, f"its process ended with code {child.returncode}: {last}")

    def _tell(self, what: str) -> None:
        for number in self._going():
            write_whole(self._folder(number) / what, b"", fsync=False)

    def _wait_for_the_last(self) -> None:
        deadline = time.monotonic() + STOPPED_WITHIN_S
        while self._going() and time.monotonic() < deadline:
            self._poll()

    def _end(self) -> None:
        for child in self.children.values():
            child.kill()
        self._exchange.cleanup()
