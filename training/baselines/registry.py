"""The methods of other papers that are compared, by the name that records and pages give them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from training.baselines.base import Baseline
from training.baselines.cda4rec.method import CDA4Rec
from training.baselines.dccl.method import DCCL
from training.baselines.duet.method import Duet
from training.baselines.lightgcn import LightGCN
from training.baselines.llrec.method import LLRec
from training.baselines.lsc4rec import Lsc4recBaseline
from training.baselines.prefer.method import Prefer
from training.baselines.published_encoder import PublishedEncoder
from training.baselines.rarec import RaRec
from training.baselines.structure import Structure
from training.baselines.transrec import TransRec

BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        "lightgcn": LightGCN(),
        "sasrec": PublishedEncoder("sasrec"),
        "sasrec-equipped": Structure("cloud", {"backbone": "sasrec"}),
        "duet": Duet(),
        "duet-fresh": Duet(gaps=(0,)),
        "rarec": RaRec(),
        "rarec-d": RaRec(reads="device", layers=2),
        "transrec": TransRec(),
        "transrec-d": TransRec(reads="device", width=32, layers=1),
        "lsc4rec": Lsc4recBaseline(),
        "lsc4rec-100": Lsc4recBaseline(candidates=100),
        "lsc4rec-best": Lsc4recBaseline(whole=False),
        "wide": Structure("device", {"dim": 96}),
        "deep": Structure("device", {"layers": 3}),
        "distilled": Structure("device", {"distil": True}),
        "cda4rec": CDA4Rec(),
        "cda4rec-fuse": CDA4Rec(planner="fuse"),
        "cda4rec-scalrec": CDA4Rec(corrected=True),
        "llrec": LLRec(),
        "dccl": DCCL(),
        "dccl-patch": DCCL(distil=False),
        "prefer": Prefer(),
        # Last, since a cell that is interrupted keeps what it has: they take longest.
        "surge": PublishedEncoder("surge"),
        "surge-equipped": Structure("cloud", {"backbone": "surge"}),
    }
)
