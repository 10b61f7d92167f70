"""Units on many machines, by Dask distributed.

The workers get the model as the bytes of its bundle, once, when they join; they write products and claims into the
store, which they must all reach, and read the scenes from where the plan says. Of the units only a few a thread are in
the scheduler's hands at a time, so that its memory does not depend on their number.

Dask moves its tasks by pickle between client, scheduler and workers, and whoever can reach a scheduler can run code on
its workers: use clusters on networks that you trust only.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecumene.catalogue.plan import Settings, Unit
from ecumene.catalogue.running import BUSY_SECONDS, Summary, should_retry
from ecumene.catalogue.store import open_store
from ecumene.catalogue.work import Outcome, SharedModel, map_unit
from ecumene.core.errors import ConfigurationError, ModelError, ProductError
from ecumene.core.optional import require
from ecumene.core.progress import Progress, silent
from ecumene.core.threads import available_threads

if TYPE_CHECKING:
    from ecumene.models.bundle import Model

ALLOWED_LOSSES = 10
"""Workers that may die over one unit before it is given up. Dask's own 3 are soon reached where machines are withdrawn;
without a bound a tile that needs too much memory would take down worker after worker for ever."""

ANSWER_SECONDS = 10.0
"""How long a scheduler may take to answer."""

LOST_SECONDS = 600.0
"""How long a cluster may be without any worker before a run ends; workers that are withdrawn come back."""

_IN_HAND = 3  # units a thread of the cluster that the scheduler knows of
_MODELS: dict[str, SharedModel] = {}
_LOADING = threading.Lock()


@dataclass(frozen=True)
class Address:
    """Where units are executed: `workers` processes of this machine, or the scheduler at `url`."""

    workers: int | None = None
    url: str | None = None


def parse_cluster(text: str) -> Address:
    """Read what the user writes.

    Args:
        text: `local` (a worker a processor), `local:N`, or the address of a scheduler such as `tcp://HOST:PORT`.

    Raises:
        ConfigurationError: If it is something else.
    """
    match = re.fullmatch(r"local(?::(\d{1,4}))?", text.strip())
    if match and match[1] != "0":
        return Address(workers=int(match[1]) if match[1] else available_threads())
    if re.fullmatch(r"(tcp|tls|ws|wss|ucx|inproc)://[^\s/]\S*", text.strip()):
        return Address(url=text.strip())
    raise ConfigurationError(f"The cluster {text!r} is unknown; write local, local:N or tcp://HOST:PORT.")


class ModelPlugin:
    """Gives the model to every worker that joins; it is loaded when the first unit needs it."""

    name = "ecumene-model"
    idempotent = False

    def __init__(self, checksum: str, files: Mapping[str, bytes]) -> None:
        """Keep the bundle's files."""
        self.checksum, self.files = checksum, dict(files)

    def setup(self, worker: Any) -> None:
        """Load the bundle, checked as a stranger's, through a folder that is deleted at once."""
        load_once(self.checksum, self.files)

    def teardown(self, worker: Any) -> None:
        """Forget the model."""
        _MODELS.pop(self.checksum, None)


def load_once(checksum: str, files: Mapping[str, bytes]) -> SharedModel:
    """Return this process's copy of a model, made from a bundle's files at the first call."""
    from ecumene.models.bundle import Model

    with _LOADING:
        if checksum not in _MODELS:
            with tempfile.TemporaryDirectory() as folder:
                for name, content in files.items():
                    (Path(folder) / name).write_bytes(content)
                _MODELS[checksum] = SharedModel(Model.load(folder), checksum)
        return _MODELS[checksum]


def work_remotely(unit: Unit, settings: Settings, out: str) -> Outcome:
    """Execute a unit on a worker."""
    model = _MODELS.get(settings.model_checksum)
    if model is None:
        return Outcome(unit.id, "failed", "The worker did not get the model; restart the cluster.", 6)
    with _LOADING:  # the executor is one, so units of a worker with several threads take turns
        return map_unit(unit, settings, open_store(out), model)


@contextlib.contextmanager
def connected(address: Address) -> Iterator[Any]:
    """Yield a client of a new local cluster or of a scheduler that runs.

    Raises:
        MissingDependencyError: If Dask distributed is not installed.
        ConfigurationError: If the scheduler does not answer.
    """
    distributed = require("distributed")
    import dask

    # A local cluster otherwise gives up a worker for good that takes longer than 15 s to start again.
    settings = {
        "distributed.scheduler.allowed-failures": ALLOWED_LOSSES,
        "distributed.worker.daemon": False,
        "distributed.deploy.lost-worker-timeout": f"{LOST_SECONDS:.0f}s",
    }
    with dask.config.set(settings), contextlib.ExitStack() as stack:
        if address.url is None:
            cluster = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=address.workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address="127.0.0.1:0",
                    silence_logs=50,
                    host="127.0.0.1",
                )
            )
            target: Any = cluster
        else:
            target = address.url
        try:
            client = distributed.Client(target, timeout=ANSWER_SECONDS, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise ConfigurationError(
                f"The cluster {address.url} does not answer within {ANSWER_SECONDS:.0f} s; check the address and that "
                "its scheduler runs."
            ) from error
        yield stack.enter_context(client)


def run_on_cluster(
    units: Sequence[Unit],
    settings: Settings,
    out: str,
    model: Model,
    address: Address,
    *,
    progress: Progress = silent,
) -> Summary:
    """Work through the units on a cluster.

    Args:
        units: What to map.
        settings: What they have in common.
        out: The store, which all workers reach under this name.
        model: The model; its bundle's files go to the workers.
        address: Which cluster.
        progress: Called with (units done, units, what).

    Returns:
        What became of each.

    Raises:
        ConfigurationError: If the cluster does not answer or has no workers.
        ModelError: If the workers cannot load the model.
    """
    with connected(address) as client:
        _prepare(client, settings, model, address)
        return _submit_all(client, units, settings, out, progress)


def _prepare(client: Any, settings: Settings, model: Model, address: Address) -> None:
    from distributed.diagnostics.plugin import WorkerPlugin

    class Plugin(ModelPlugin, WorkerPlugin):  # type: ignore[misc]
        """A plugin of this version of Dask."""

    try:
        client.wait_for_workers(1, timeout=3 * ANSWER_SECONDS)
    except TimeoutError as error:
        raise ConfigurationError(
            f"The cluster {address.url or 'local'} has no worker; start some with: dask worker."
        ) from error
    client.run_on_scheduler(_allow_losses, losses=ALLOWED_LOSSES)
    try:
        client.register_plugin(Plugin(settings.model_checksum, model.to_files()))
    except ImportError as error:
        raise ModelError(
            f"The workers lack a library that the model needs ({error.name}); install the same ecumene there."
        ) from error


def _allow_losses(dask_scheduler: Any = None, losses: int = 3) -> None:
    """Raise a running scheduler's bound of lost workers a task."""
    dask_scheduler.allowed_failures = max(int(dask_scheduler.allowed_failures), losses)


def _submit_all(client: Any, units: Sequence[Unit], settings: Settings, out: str, progress: Progress) -> Summary:
    distributed = require("distributed")
    summary = Summary()
    waiting: deque[tuple[Unit, int]] = deque((unit, 1) for unit in units)
    later: list[tuple[float, Unit, int]] = []
    running: dict[Any, tuple[Unit, int]] = {}
    progress(0, len(units), "tiles")
    alive = time.monotonic()
    while waiting or running or later:
        now = time.monotonic()
        waiting.extend((unit, attempt) for due, unit, attempt in later if due <= now)
        later = [entry for entry in later if entry[0] > now]
        threads = sum(client.nthreads().values())
        alive = now if threads else alive
        if now - alive > LOST_SECONDS:
            raise ProductError("The cluster has lost all its workers; run the same command again when it has some.")
        room = _IN_HAND * threads - len(running)
        for _ in range(min(room, len(waiting))):
            unit, attempt = waiting.popleft()
            running[client.submit(work_remotely, unit, settings, out, pure=False)] = (unit, attempt)
        if not running:
            time.sleep(0.1)
            continue
        with contextlib.suppress(TimeoutError), client.as_current():
            distributed.wait(list(running), timeout=1.0, return_when="FIRST_COMPLETED")
        for future in [future for future in running if future.done()]:
            unit, attempt = running.pop(future)
            outcome = _outcome(future, unit)
            future.release()
            if outcome.state == "busy":
                later.append((now + BUSY_SECONDS, unit, attempt))
            elif should_retry(outcome, attempt):
                waiting.append((unit, attempt + 1))
            else:
                summary.outcomes[unit.id] = outcome
                progress(len(summary.outcomes), len(units), "tiles")
    return summary


def _outcome(future: Any, unit: Unit) -> Outcome:
    """Return what became of a unit; a defect of the program is raised as it is."""
    killed = require("distributed").scheduler.KilledWorker
    if future.cancelled():
        raise ProductError("The cluster went away; run the same command again, it goes on where this one stopped.")
    try:
        outcome: Outcome = future.result()
        return outcome
    except killed:
        message = (
            f"The tile {unit.id} was given up after {ALLOWED_LOSSES + 1} workers died over it, mostly for lack of "
            "memory; give each worker more, or use a smaller --window."
        )
        return Outcome(unit.id, "failed", message, ProductError.exit_code)
