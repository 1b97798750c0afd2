"""Which number format a text model is quickest in on this machine's CPU."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

NumberFormat = Literal["bfloat16", "float32"]
CPUINFO = Path("/proc/cpuinfo")
# Matrix units of Intel (AMX) and of Arm (BFMMLA).
_QUICK = frozenset({"amx_bf16", "bf16"})
_FLAGS = re.compile(r"^(?:flags|Features)\s*:(.*)$", re.MULTILINE)
_AMD = re.compile(r"^vendor_id\s*:\s*AuthenticAMD\s*$", re.MULTILINE)


def cpu_number_format(cpuinfo: Path = CPUINFO) -> NumberFormat:
    """bfloat16 where the CPU multiplies it more quickly than float32, else float32.

    AVX-512 BF16 alone is not enough: Intel's cores do as many float32 products in a cycle by it as
    without it, and conversions come on top (ADR 0044 has the figures); AMD's do twice as many.
    A CPU that says nothing of itself (no such file, as on macOS) gets float32, which runs anywhere.
    """
    try:
        text = cpuinfo.read_text(errors="replace")
    except OSError:
        return "float32"
    said = {flag for line in _FLAGS.findall(text) for flag in line.split()}
    quick = bool(said & _QUICK) or ("avx512_bf16" in said and _AMD.search(text) is not None)
    return "bfloat16" if quick else "float32"
