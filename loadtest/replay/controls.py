"""Controls: what may be changed by hand while a replay runs, and a record of what was."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import msgspec

from device_runtime.settings import DeviceSettings
from loadtest.records.checksums import check, seal
from loadtest.replay.fleet import Fleet
from loadtest.timing.clock import ReplayTime
from loadtest.timing.switched_availability import Mode, SwitchedAvailability
from shared.errors import ConfigError, DataError

INTERVENTIONS = "interventions.jsonl"


class Controls(Protocol):
    """To be used on the replay's own event loop."""

    def cloud(self, mode: Mode) -> None:
        """Cut the cloud off, force it up, or follow the plan again."""

    def refresh_every(self, k: int) -> None:
        """Change k; raises ConfigError if the refresh policy has none."""

    def calibrate(self, on: bool) -> None:
        """Correct stale snapshots, or take them at face value.

        Raises ConfigError if devices rank in a way that corrects nothing.
        """


class Intervention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One change by hand, ``replay_s`` seconds into the replay."""

    replay_s: float
    what: str
    value: str


class ReplayControls:
    """Controls of a running replay; every change is appended to the run's folder.

    Args:
        device: settings the replay began with.
        run_dir: gets interventions.jsonl at the first change, so that no report can pass a run
            for untouched that was not.
    """

    def __init__(
        self,
        fleet: Fleet,
        availability: SwitchedAvailability,
        time: ReplayTime,
        device: DeviceSettings,
        run_dir: Path,
    ) -> None:
        self._fleet = fleet
        self._availability = availability
        self._time = time
        self._device = device
        self._path = run_dir / INTERVENTIONS

    def cloud(self, mode: Mode) -> None:
        if mode != self._availability.mode:
            self._availability.switch(mode, self._time.now())
            self._note("cloud", mode)

    def refresh_every(self, k: int) -> None:
        if self._device.policy != "every-k":
            raise ConfigError(f"the refresh policy is {self._device.policy}, which has no k")
        if k < 1:
            raise ConfigError(f"k must be at least 1, not {k}")
        if k != self._device.k:
            self._device = self._device.model_copy(update={"k": k})
            self._fleet.refresh_every(k)
            self._note("k", str(k))

    def calibrate(self, on: bool) -> None:
        if self._device.ranking != "semantic":
            raise ConfigError(
                f"the ranking is {self._device.ranking}, which has nothing to calibrate"
            )
        if on != self._device.calibrate:
            self._device = self._device.model_copy(update={"calibrate": on})
            self._fleet.calibrate(on)
            self._note("calibration", "on" if on else "off")

    def _note(self, what: str, value: str) -> None:
        line = msgspec.json.encode(Intervention(round(self._time.now(), 3), what, value))
        with self._path.open("ab") as file:
            file.write(line + b"\n")
        seal(self._path.parent, INTERVENTIONS)


def read_interventions(run_dir: Path) -> tuple[Intervention, ...]:
    """What was changed by hand, in order; raises DataError naming file and line."""
    path = run_dir / INTERVENTIONS
    check(path)
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise DataError(f"cannot be read: {error}", path) from error
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(msgspec.json.decode(line, type=Intervention))
        except (msgspec.MsgspecError, RecursionError) as error:
            raise DataError(f"line {number} is no intervention: {error}", path) from error
    return tuple(found)
