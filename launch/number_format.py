"""Which number format a text model is best served in on this machine's CPU."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

NumberFormat = Literal["bfloat16", "float32"]
CPUINFO = Path("/proc/cpuinfo")
# x86: AVX-512 BF16, and AMX's tiles; Arm: BFMMLA and BFDOT.
_INSTRUCTIONS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
_FLAGS = re.compile(r"^(?:flags|Features)\s*:(.*)$", re.MULTILINE)


def cpu_number_format(cpuinfo: Path = CPUINFO) -> NumberFormat:
    """bfloat16 where the CPU multiplies it in hardware, else float32.

    Without such instructions a bfloat16 product is one of float32 with conversions around it.
    A CPU that says nothing of itself (no such file, as on macOS) gets float32, which runs anywhere.
    """
    try:
        text = cpuinfo.read_text(errors="replace")
    except OSError:
        return "float32"
    said = {flag for line in _FLAGS.findall(text) for flag in line.split()}
    return "bfloat16" if said & _INSTRUCTIONS else "float32"
