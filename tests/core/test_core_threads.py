"""Threads and memory: what every room shares."""

import os
import sys

import numpy as np
import pytest

from ecumene.core import memory
from ecumene.core.errors import ConfigurationError, SceneError
from ecumene.core.threads import available_threads, count_threads, run_ranges


@pytest.mark.parametrize("threads", [1, 2, 5, None])
@pytest.mark.parametrize("length", [None, 7, 1000])
def test_every_element_is_worked_on_once(threads, length):
    seen = np.zeros(333, int)

    def work(start: int, stop: int) -> None:
        assert start < stop
        seen[start:stop] += 1

    run_ranges(work, seen.size, threads, length=length)
    assert (seen == 1).all()
    run_ranges(work, 0, threads, length=length)


def test_an_error_of_any_range_comes_out():
    def work(start: int, stop: int) -> None:
        if start >= 64:
            raise SceneError("no")

    with pytest.raises(SceneError):
        run_ranges(work, 1000, 2)


def test_threads_are_counted_where_the_system_does_not_say_which_processors_may_be_used(monkeypatch):
    assert available_threads() >= 1
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_threads() == count_threads(None) == 1
    assert count_threads(3) == 3
    for number in (0, -1):
        with pytest.raises(ConfigurationError, match="at least 1"):
            count_threads(number)


def test_the_allocator_of_other_systems_is_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert memory.set_allocator({memory.ARENA_MAX: 1}) is False
    memory.trim()


def test_environment_variables_go_before(monkeypatch):
    monkeypatch.setenv(memory.ARENA_MAX, "3")
    assert memory.set_allocator({memory.ARENA_MAX: 1}) is False
