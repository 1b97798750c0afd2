"""What authors of packages need that bring a refresh policy, a log loader or an embedder.

docs/extending.md shows one of each. Names are imported when they are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalrec.lazy import looked_up

if TYPE_CHECKING:
    from cloud_service.embedding.base import Embedder
    from cloud_service.settings import EmbedderSettings
    from device_runtime.refresh.budgeted import Budgeted
    from device_runtime.refresh.call_budget import CallBudget
    from device_runtime.refresh.policy import RefreshPolicy, RefreshState
    from device_runtime.settings import DeviceSettings
    from shared.bundle import EmbedderIdentity
    from shared.interactions import InteractionLog
    from shared.progress import Progress
    from training.data.text import describe
    from training.data.validate import build_log
    from training.settings import LogSettings

__all__ = [
    "Budgeted",
    "CallBudget",
    "DeviceSettings",
    "Embedder",
    "EmbedderIdentity",
    "EmbedderSettings",
    "InteractionLog",
    "LogSettings",
    "Progress",
    "RefreshPolicy",
    "RefreshState",
    "build_log",
    "describe",
]

_PLACES = {
    "Budgeted": "device_runtime.refresh.budgeted:Budgeted",
    "CallBudget": "device_runtime.refresh.call_budget:CallBudget",
    "DeviceSettings": "device_runtime.settings:DeviceSettings",
    "Embedder": "cloud_service.embedding.base:Embedder",
    "EmbedderIdentity": "shared.bundle:EmbedderIdentity",
    "EmbedderSettings": "cloud_service.settings:EmbedderSettings",
    "InteractionLog": "shared.interactions:InteractionLog",
    "LogSettings": "training.settings:LogSettings",
    "Progress": "shared.progress:Progress",
    "RefreshPolicy": "device_runtime.refresh.policy:RefreshPolicy",
    "RefreshState": "device_runtime.refresh.policy:RefreshState",
    "build_log": "training.data.validate:build_log",
    "describe": "training.data.text:describe",
}


__getattr__ = looked_up(__name__, _PLACES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
