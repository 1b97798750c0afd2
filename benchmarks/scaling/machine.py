"""The machine that a record was made on."""

from __future__ import annotations

import re
from pathlib import Path

import psutil

GIB = 1 << 30
# What numpy, torch and ONNX Runtime choose their matrix products by.
TOLD = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8")


def instructions() -> tuple[str, ...]:
    """Those of ``TOLD`` that the processor has; none where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ()
    found = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    has = set() if found is None else set(found[1].split())
    return tuple(name for name in TOLD if name in has)


def memory_gib() -> float:
    return round(psutil.virtual_memory().total / GIB, 1)
