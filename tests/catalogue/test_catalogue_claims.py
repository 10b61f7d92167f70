"""Claims: one of many gets a unit; those who die or fall silent lose it; those who come back notice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from ecumene.catalogue.claims import Claim, FolderShelf, Holder, take_claim


@pytest.fixture
def shelf(tmp_path):
    return FolderShelf(tmp_path / "claims")


def rewrite(shelf, claim, **changes):
    """Change what a claim says about its holder."""
    path = shelf.folder / claim.name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_one_of_many_gets_a_unit(shelf):
    got, barrier = [], threading.Barrier(16)

    def attempt():
        barrier.wait()
        claim = take_claim(shelf, "33TWM")
        if claim is not None:
            got.append(claim)

    threads = [threading.Thread(target=attempt) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    assert got[0].is_held()
    assert take_claim(shelf, "33TWN") is not None
    got[0].release()
    assert take_claim(shelf, "33TWM") is not None


def test_a_unit_of_a_dead_process_is_taken_at_once(shelf):
    code = (
        "import sys; from pathlib import Path; from ecumene.catalogue.claims import *;"
        "take_claim(FolderShelf(Path(sys.argv[1])), 'a')"
    )
    subprocess.run([sys.executable, "-c", code, str(shelf.folder)], check=True)
    assert shelf.generations("a") == [0]
    claim = take_claim(shelf, "a")
    assert claim is not None
    assert claim.generation == 1
    claim.release()
    assert shelf.generations("a") == []


def test_a_reused_process_number_is_noticed(shelf):
    claim = take_claim(shelf, "a")
    assert take_claim(shelf, "a") is None
    rewrite(shelf, claim, started="1@another-boot")
    assert take_claim(shelf, "a") is not None


def test_a_silent_holder_elsewhere_loses_its_unit_and_notices(shelf):
    claim = take_claim(shelf, "a")
    rewrite(shelf, claim, host="elsewhere", pid=os.getpid())
    assert take_claim(shelf, "a", stale=60) is None
    past = time.time() - 100
    os.utime(shelf.folder / claim.name, (past, past))
    taken = take_claim(shelf, "a", stale=60)
    assert taken is not None
    assert not claim.is_held()
    assert taken.is_held()


def test_of_many_who_want_an_abandoned_unit_one_gets_it(shelf):
    claim = take_claim(shelf, "a")
    rewrite(shelf, claim, host="elsewhere")
    os.utime(shelf.folder / claim.name, (0, 0))
    got, barrier = [], threading.Barrier(12)

    def attempt():
        barrier.wait()
        got.append(take_claim(shelf, "a", stale=60))

    threads = [threading.Thread(target=attempt) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(claim is not None for claim in got) == 1


def test_work_renews_a_claim(shelf):
    claim = take_claim(shelf, "a")
    os.utime(shelf.folder / claim.name, (0, 0))
    with claim.kept_alive(every=0.02):
        deadline = time.monotonic() + 5
        while shelf.age(claim.name) > 100 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert shelf.age(claim.name) < 100


def test_a_claim_that_was_not_written_whole_is_waited_for(shelf):
    (shelf.folder / "a.0").write_text("")
    assert take_claim(shelf, "a") is None
    os.utime(shelf.folder / "a.0", (0, 0))
    assert take_claim(shelf, "a") is not None


def test_names_that_begin_alike_do_not_meet(shelf):
    assert take_claim(shelf, "33TWM") is not None
    assert take_claim(shelf, "33TWM_2024-06-01") is not None
    assert shelf.generations("33TWM") == [0]
    assert Claim(shelf, "33TWM", 5, Holder.here()).is_held() is False
