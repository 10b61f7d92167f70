"""Starting the web map: a free port, the server, the browser."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from typing import Any

from ecumene.core.errors import ConfigurationError
from ecumene.core.optional import require
from ecumene.viewer.server.memory import MOST_CONNECTIONS, return_freed_memory

DEFAULT_PORT = 8765
_PORTS_TRIED = 50
_START_SECONDS = 30.0


def is_local(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return False


def free_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens on the first free port from `port` on.

    Args:
        host: Address to bind to.
        port: First port; 0: any.

    Raises:
        ConfigurationError: If the address is not this machine's, or no port is free.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    last: OSError | None = None
    for number in range(port, min(port + _PORTS_TRIED, 65536)) if port else (0,):
        # asyncio turns Nagle's algorithm off only where the protocol is named; with it every answer waits 40 ms.
        found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((host.strip("[]"), number))
            found.listen(128)
        except socket.gaierror as error:
            found.close()
            raise ConfigurationError(f"{host} is no address; use --host 127.0.0.1.") from error
        except OSError as error:
            found.close()
            last = error
            continue
        return found
    raise ConfigurationError(
        f"No port from {port} on can be opened on {host} ({last.strerror if last else 'none is left'}); "
        "choose others with --host and --port."
    )


def address_of(listening: socket.socket, host: str) -> str:
    """Return the address for a browser."""
    shown = "127.0.0.1" if host in {"0.0.0.0", ""} else f"[{host.strip('[]')}]" if ":" in host else host  # noqa: S104
    return f"http://{shown}:{listening.getsockname()[1]}/"


def open_browser(address: str) -> bool:
    """Open a browser with windows; False where the machine has none."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    # Browsers for terminals would take the terminal over, and could not draw the map.
    if isinstance(browser, webbrowser.GenericBrowser) and not isinstance(browser, webbrowser.BackgroundBrowser):
        return False
    return bool(browser.open(address))


def _server(app: Any) -> Any:
    uvicorn = require("uvicorn")
    settings = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        server_header=False,
        lifespan="off",
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=2,
        timeout_keep_alive=75,  # pages are looked at for longer than the usual five seconds
        h11_max_incomplete_event_size=16 << 10,
    )
    return uvicorn.Server(settings)


def serve(app: Any, listening: socket.socket, started: Callable[[], None] | None = None) -> None:
    """Serve until interrupted, which is how it ends.

    Args:
        app: The ASGI application.
        listening: From `free_socket`.
        started: Called once, in a thread, when requests are answered.
    """
    return_freed_memory()
    server = _server(app)
    if started is not None:
        threading.Thread(target=_when_started, args=(server, started), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])


def _when_started(server: Any, then: Callable[[], None]) -> None:
    end = time.monotonic() + _START_SECONDS
    while not server.started and time.monotonic() < end:
        time.sleep(0.02)
    if server.started:
        then()


@contextlib.contextmanager
def serving(app: Any, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve in a thread of its own, and yield the address; for tests, measurements and notebooks.

    Raises:
        ConfigurationError: If no port can be opened or the server does not start.
    """
    listening = free_socket(host, port)
    server = _server(app)
    ready = threading.Event()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    _when_started(server, ready.set)
    if not ready.is_set():
        raise ConfigurationError("The server did not start.")
    try:
        yield address_of(listening, host)
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listening.close()
