"""What the machine can do, found out without importing torch."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


def processor_flags() -> frozenset[str]:
    """Return the instruction sets of the processor by Linux's names; empty where the system does not say."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as stream:
            line = next((line for line in stream if line.lower().startswith(("flags", "features"))), "")
    except OSError:
        return frozenset()
    return frozenset(line.split())


def processor_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware (AVX-512 BF16, AMX, Arm BF16)."""
    return bool(_BFLOAT16_FLAGS & processor_flags())


def has_gpu() -> bool:
    """Whether there is a GPU of NVIDIA that this process may use; torch decides in the end."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    return Path("/dev/nvidiactl").exists() or Path("/proc/driver/nvidia/version").exists()


def compiler() -> str | None:
    """Return the C++ compiler that torch would compile with, or None."""
    wanted = os.environ.get("CXX")
    names = (wanted,) if wanted else ("g++", "clang++", "c++")
    return next((found for found in map(shutil.which, names) if found), None)
