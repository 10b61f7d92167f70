"""The cache: whole files, whole or absent, within its size; patience; signing files."""

import os
import threading
import time

import pytest
from flaky_server import serving
from hypothesis import given
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError, SceneError
from ecumene.scenes.remote import cache as caching
from ecumene.scenes.remote import fetching
from ecumene.scenes.remote.addresses import with_query, without_secrets
from ecumene.scenes.remote.cache import AssetCache, current_cache, local_or_signed
from ecumene.scenes.remote.patience import Patience, seconds_of
from ecumene.scenes.remote.signing import current_signer

QUICK = Patience(tries=5, first_wait_s=0.02, longest_wait_s=0.2, total_s=5.0)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name in ("ECUMENE_SIGN", "ECUMENE_CACHE", "ECUMENE_CACHE_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(caching, "fetch_file", lambda href, target: fetching.fetch_file(href, target, QUICK))


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.tif").write_bytes(bytes([number]) * 400_000)
    return folder


def test_a_file_comes_once_and_whole_over_broken_connections(folder, tmp_path):
    with serving(folder) as server:
        server.drop, server.throttle = 2, 1
        cache = AssetCache(tmp_path / "cache")
        first = cache.fetch(f"{server.url}/1.tif")
        assert first.read_bytes() == (folder / "1.tif").read_bytes()
        count = len(server.requests)
        assert cache.fetch(f"{server.url}/1.tif?token=other") == first
        assert len(server.requests) == count
        # The second connection went on where the first one broke.
        assert sum(status == 206 for _, status in server.requests) >= 1


def test_without_ranges_a_broken_file_starts_again(folder, tmp_path):
    with serving(folder) as server:
        server.drop, server.ranges = 1, False
        path = AssetCache(tmp_path / "cache").fetch(f"{server.url}/2.tif")
        assert path.read_bytes() == (folder / "2.tif").read_bytes()


def test_the_least_recently_used_go_first(folder, tmp_path):
    cache = AssetCache(tmp_path / "cache", limit=1_000_000)
    with serving(folder) as server:
        paths = {}
        for number in (0, 1):
            paths[number] = cache.fetch(f"{server.url}/{number}.tif")
            os.utime(paths[number], (time.time() - 100 + number, time.time() - 100 + number))
        cache.fetch(f"{server.url}/0.tif")  # used again
        paths[2] = cache.fetch(f"{server.url}/2.tif")
        assert [paths[number].exists() for number in range(3)] == [True, False, True]
    assert sum(path.stat().st_size for path in cache.folder.iterdir()) <= 1_000_000


def test_many_threads_share_one_cache(folder, tmp_path):
    cache = AssetCache(tmp_path / "cache")
    failures = []
    with serving(folder) as server:

        def fetch(number):
            try:
                assert cache.fetch(f"{server.url}/{number % 5}.tif").stat().st_size == 400_000
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=fetch, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures
    assert len(list(cache.folder.iterdir())) == 5


def test_nothing_is_left_of_a_file_that_cannot_be_had(folder, tmp_path):
    cache = AssetCache(tmp_path / "cache")
    with serving(folder) as server:
        with pytest.raises(SceneError, match="does not exist"):
            cache.fetch(f"{server.url}/absent.tif")
        server.html = True
        with pytest.raises(SceneError, match="web page"):
            cache.fetch(f"{server.url}/3.tif")
    assert not list(cache.folder.iterdir())


def test_a_cache_that_cannot_be_written_is_named(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ECUMENE_CACHE", str(tmp_path / "file"))
    with serving(folder) as server, pytest.raises(SceneError, match="cannot be used"):
        local_or_signed(f"{server.url}/1.tif")


@pytest.mark.parametrize(("text", "size"), [("20GB", 20e9), ("1.5 M", 1.5e6), ("", 20e9), ("7", 7)])
def test_sizes(text, size, monkeypatch, tmp_path):
    monkeypatch.setenv("ECUMENE_CACHE", str(tmp_path))
    monkeypatch.setenv("ECUMENE_CACHE_SIZE", text)
    assert current_cache().limit == size
    monkeypatch.setenv("ECUMENE_CACHE_SIZE", "plenty")
    with pytest.raises(ConfigurationError, match="20GB"):
        current_cache()


def test_signing_files_that_are_wrong_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("ECUMENE_SIGN", "nowhere")
    with pytest.raises(ConfigurationError, match="planetary-computer"):
        current_signer()
    path = tmp_path / "sign.yaml"
    for text in ("hosts: '('\ntoken_url: https://x/", "token_url: https://x/", "- 1", "hosts: a\ntoken_url: file:///x"):
        path.write_text(text)
        monkeypatch.setenv("ECUMENE_SIGN", str(path))
        with pytest.raises(ConfigurationError, match="does not describe a token service"):
            current_signer()
    monkeypatch.setenv("ECUMENE_SIGN", "planetary-computer")
    signer = current_signer()
    assert signer is not None
    assert signer.sign("https://example.com/a.tif") == "https://example.com/a.tif"


@given(st.text("abcXYZ0189=&%", max_size=20), st.sampled_from(["", "user:secret@"]))
def test_secrets_are_cut_off(query, user):
    href = with_query(f"https://{user}host.org/a/b.tif", query)
    assert without_secrets(href) == "https://host.org/a/b.tif"


def test_paths_are_left_alone():
    assert without_secrets("/a?b.tif") == "/a?b.tif"


def test_patience_ends_by_number_and_by_time():
    assert len(list(Patience(tries=3).attempts())) == 3
    late = next(iter(Patience(tries=9, total_s=0.0).attempts()))
    assert late.last


def test_retry_after_is_seconds_or_a_date():
    assert seconds_of("3") == 3.0
    assert seconds_of("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert seconds_of("soon") is None
    assert seconds_of(None) is None
