"""What a stale cloud costs a device recommender: the program, and what Python code may call.

Code calls what ``__all__`` names; docs/python-api.md shows it. Nothing of it is imported before it
is asked for, so that importing this package costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalrec.lazy import looked_up

if TYPE_CHECKING:
    from scalrec.advice.model import Advice
    from scalrec.api.advising import advise
    from scalrec.api.cloud import Cloud
    from scalrec.api.device import UserDevice as Device
    from scalrec.api.log import Log, load_log
    from scalrec.api.recommended import Answer, Recommended
    from scalrec.api.simulating import SimulatedRun, read_records, simulate
    from scalrec.api.trained import Trained
    from scalrec.api.training import train
    from shared.errors import ScalrecError

__all__ = [
    "Advice",
    "Answer",
    "Cloud",
    "Device",
    "Log",
    "Recommended",
    "ScalrecError",
    "SimulatedRun",
    "Trained",
    "advise",
    "load_log",
    "read_records",
    "simulate",
    "train",
]

_PLACES = {
    "Advice": "scalrec.advice.model:Advice",
    "Answer": "scalrec.api.recommended:Answer",
    "Cloud": "scalrec.api.cloud:Cloud",
    "Device": "scalrec.api.device:UserDevice",
    "Log": "scalrec.api.log:Log",
    "Recommended": "scalrec.api.recommended:Recommended",
    "ScalrecError": "shared.errors:ScalrecError",
    "SimulatedRun": "scalrec.api.simulating:SimulatedRun",
    "Trained": "scalrec.api.trained:Trained",
    "advise": "scalrec.api.advising:advise",
    "load_log": "scalrec.api.log:load_log",
    "read_records": "scalrec.api.simulating:read_records",
    "simulate": "scalrec.api.simulating:simulate",
    "train": "scalrec.api.training:train",
}


__getattr__ = looked_up(__name__, _PLACES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
