"""Memory that a run frees is kept for its next pass, unless the user decides otherwise."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ecumene.core.memory import zeros_apart
from ecumene.mapping import memory

CHURN = """
import resource, sys
import numpy as np
from ecumene.mapping.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def churn(times):
    for _ in range(times):
        np.ones(48 << 20, np.uint8)
churn(2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
churn(20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.fixture
def glibc():
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        pytest.skip("only glibc is told")


def test_pages_serve_again(glibc):
    def faults(way):
        result = subprocess.run([sys.executable, "-c", CHURN, way], capture_output=True, text=True, check=True)
        return int(result.stdout)

    assert faults("keep") * 10 < faults("leave")


def test_environment_variables_have_the_last_word(monkeypatch):
    for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX"):
        monkeypatch.setenv(name, "1")
    assert memory.keep_freed_memory() is False


def test_another_system_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert memory.keep_freed_memory() is False


@pytest.mark.parametrize("shape", [(3, 4), (2, 1100, 1024)])
def test_arrays_in_pages_of_their_own_are_arrays_like_others(shape):
    array = zeros_apart(shape, np.uint8)
    assert (array.shape, array.dtype, int(array.max())) == (shape, np.uint8, 0)
    array[0] = 7
    kept = array[:1]
    del array
    assert (kept == 7).all()
    assert zeros_apart(shape, np.float32).flags.c_contiguous


def test_pages_of_their_own_go_back_at_once():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    if not Path("/proc/self/statm").exists():
        pytest.skip("the system does not say what is resident")
    arrays = [zeros_apart((4 << 20,), np.uint8) for _ in range(24)]
    for array in arrays:
        array.fill(1)
    full = resident()
    del arrays[::2], array
    assert full - resident() > 30 << 20
