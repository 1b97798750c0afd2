"""The methods of other papers that are compared, by the name that records and pages give them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from training.baselines.base import Baseline
from training.baselines.duet.method import Duet
from training.baselines.lightgcn import LightGCN
from training.baselines.published_encoder import PublishedEncoder
from training.baselines.structure import Structure

BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        "lightgcn": LightGCN(),
        "surge": PublishedEncoder("surge"),
        "surge-equipped": Structure("cloud", {"backbone": "surge"}),
        "sasrec": PublishedEncoder("sasrec"),
        "sasrec-equipped": Structure("cloud", {"backbone": "sasrec"}),
        "duet": Duet(),
        "duet-fresh": Duet(gaps=(0,)),
        "wide": Structure("device", {"dim": 96}),
        "deep": Structure("device", {"layers": 3}),
        "distilled": Structure("device", {"distil": True}),
    }
)
