"""Memory that a run frees is kept for its next pass, unless the user decides otherwise."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

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
