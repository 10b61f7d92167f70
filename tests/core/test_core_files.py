"""Files are whole or absent; errors say what to do."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ecumene.core.errors import ProductError
from ecumene.core.files import (
    atomic_path,
    ensure_writable_folder,
    remove_leftovers,
    sha256_of,
    write_json,
    write_text,
)


def test_atomic_path_replaces_only_when_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def fail() -> None:
        with atomic_path(target) as path:
            path.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_atomic_path_refuses_what_does_not_validate(tmp_path: Path) -> None:
    def refuse(path: Path) -> None:
        raise ProductError(f"{path.stat().st_size} bytes are too few.")

    with pytest.raises(ProductError, match="too few"), atomic_path(tmp_path / "a", validate=refuse) as path:
        path.write_bytes(b"x")
    assert not list(tmp_path.iterdir())


def test_a_file_in_place_of_the_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ProductError, match="cannot be written"):
        ensure_writable_folder(tmp_path / "out")
    with pytest.raises(ProductError, match="cannot be written"):
        write_text(tmp_path / "out" / "x", "y")


def test_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "big.json"
    write_json(target, {"state": "old"})
    script = textwrap.dedent(
        f"""
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        from ecumene.core.errors import ProductError
        from ecumene.core.files import write_json
        try:
            write_json({str(target)!r}, {{"state": "x" * 100_000}})
        except ProductError as error:
            print(error)
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "cannot be written" in done.stdout
    assert "old" in target.read_text()
    assert list(tmp_path.iterdir()) == [target]


def test_a_disk_that_fills_up_within_a_write_is_named(tmp_path: Path) -> None:
    """NumPy then says how many bytes were written, and not why."""

    def write() -> None:
        with atomic_path(tmp_path / "strip") as path:
            path.write_bytes(b"half")
            raise OSError("5760 requested and 3040 written")

    with pytest.raises(ProductError, match="strip cannot be written: No space left on device"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".part-0123abcd-x.tif").write_bytes(b"half")
    (tmp_path / "x.tif").write_bytes(b"whole")
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["x.tif"]


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not os.listdir(tmp_path)
