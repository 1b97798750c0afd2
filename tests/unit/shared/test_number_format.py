"""bfloat16 is asked for where the CPU is quicker in it, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from launch.vllm_server import VllmOptions
from shared.number_format import cpu_number_format

X86 = "vendor_id\t: {}\nmodel name\t: no avx512_bf16 but here\nflags\t\t: {}\nbugs\t\t: {}\n"
INTEL, AMD = "GenuineIntel", "AuthenticAMD"
ARM = "processor\t: 0\nFeatures\t: {}\nCPU part\t: 0xd40\n"


@pytest.mark.parametrize(
    ("cpuinfo", "wanted"),
    [
        (X86.format(INTEL, "fpu avx512f avx512_vnni", "none"), "float32"),
        (X86.format(INTEL, "fpu avx512f avx512_bf16", "none"), "float32"),
        (X86.format(AMD, "fpu avx512f avx512_bf16", "none"), "bfloat16"),
        (X86.format(INTEL, "fpu avx512_bf16 amx_bf16 amx_tile", "none"), "bfloat16"),
        (X86.format(AMD, "fpu avx512f", "avx512_bf16"), "float32"),
        (ARM.format("fp asimd bf16 i8mm"), "bfloat16"),
        (ARM.format("fp asimd ebf16x"), "float32"),
        ("", "float32"),
    ],
)
def test_the_flags_of_the_cpu_decide(tmp_path: Path, cpuinfo: str, wanted: str) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(cpuinfo)
    assert cpu_number_format(path) == wanted


def test_a_cpu_that_says_nothing_gets_what_runs_anywhere(tmp_path: Path) -> None:
    assert cpu_number_format(tmp_path / "absent") == "float32"


@pytest.mark.parametrize("cpu", ["float32", "bfloat16"])
def test_the_server_is_asked_for_it(monkeypatch: pytest.MonkeyPatch, cpu: str) -> None:
    monkeypatch.setattr("launch.vllm_server.cpu_number_format", lambda: cpu)
    options = VllmOptions(Path("/m"), "minilm")
    assert dict(pairwise(options.command(Path("python"), 1)))["--dtype"] == cpu
    told = replace(options, number_format="float32")
    assert dict(pairwise(told.command(Path("python"), 1)))["--dtype"] == "float32"
