"""Work on the processes of a Dask cluster; imported only where somebody gives a client."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

from distributed import Client, Future, KilledWorker, WorkerPlugin, get_worker, wait

from loihi_deploy import __version__
from loihi_deploy.engines.threads import VARIABLE
from loihi_deploy.errors import BackendError, InputError

AHEAD = 3
"""Calls for each thread of the workers that are sent before results are waited for."""
PATIENCE = 60.0
"""Seconds without any worker after which nobody is expected to come."""
LOOK = 2.0
"""Seconds between looks at whether there still is a worker."""


class _Held(WorkerPlugin):  # type: ignore[misc]  # Dask has no types
    """A function with all that it needs, sent to each worker once: also to those that come later, or come again."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name, self.function, self.version = name, function, __version__

    def setup(self, worker: Any) -> None:
        """Refuse to work with another version, which may count differently; a call has a thread of its own."""
        os.environ.setdefault(VARIABLE, "1")
        if self.version != __version__:
            raise BackendError.single(
                "the worker has another version of loihi-deploy", worker.address, __version__, self.version
            )


def _call(name: str, keys: tuple[tuple[int, str], ...], arguments: tuple[Any, ...], *waited: Any) -> Any:
    """Call what a worker holds; `waited` are values of mappings among the arguments, which were futures."""
    given: list[Any] = list(arguments)
    for (place, key), value in zip(keys, waited, strict=True):
        given[place] = {**given[place], key: value}
    return get_worker().plugins[name].function(*given)


def n_threads(client: Any) -> int:
    """Threads of all workers.

    Raises
    ------
    InputError
        If `client` is none, or none that waits for results.
    BackendError
        If there is no worker.
    """
    if not isinstance(client, Client):
        raise InputError.single("not a client", "client", type(client).__name__, "distributed.Client")
    if client.asynchronous:
        raise InputError.single(
            "a client that waits for nothing", "client", remedy="Make it without asynchronous=True"
        )
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        raise _nobody(client) from error
    return sum(client.nthreads().values())


def _nobody(client: Client) -> BackendError:
    return BackendError.single(
        f"no worker has come for {PATIENCE:g} s",
        f"client of {client.scheduler.address}",
        remedy="Start workers: dask worker ADDRESS, or LocalCluster(n_workers=2)",
    )


@contextmanager
def on_workers(client: Client, function: Callable[..., Any]) -> Iterator[Callable[..., Future]]:
    """Let every worker hold a function; gives what submits a call of it.

    Mappings among the arguments may have values that are Dask arrays: the cluster computes these, and they reach the
    function without a way over this process.
    """
    name = f"loihi-deploy-{uuid4().hex}"
    client.register_plugin(_Held(name, function), name=name)

    def submit(*arguments: Any) -> Future:
        waited: list[Any] = []
        keys: list[tuple[int, str]] = []
        given: list[Any] = []
        for place, argument in enumerate(arguments):
            if isinstance(argument, Mapping):
                lazy = {key: value for key, value in argument.items() if hasattr(value, "__dask_graph__")}
                keys += [(place, key) for key in lazy]
                waited += [client.compute(value) for value in lazy.values()]
                argument = {key: value for key, value in argument.items() if key not in lazy}
            given.append(argument)
        return client.submit(_call, name, tuple(keys), tuple(given), *waited, pure=False)

    try:
        yield submit
    finally:
        if client.status == "running":
            client.unregister_worker_plugin(name)


def results(client: Client, function: Callable[..., Any], calls: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
    """Results of calls, in order; a bounded number of them is under way. A lost worker's calls are made again.

    Raises
    ------
    BackendError
        If there is no worker any more, or several die of the same call.
    Exception
        What the first call that fails raises.
    """
    ahead = AHEAD * n_threads(client)
    waiting: deque[Future] = deque()
    with on_workers(client, function) as submit:
        try:
            for call in calls:
                waiting.append(submit(*call))
                if len(waiting) > ahead:
                    yield result(client, waiting.popleft())
            while waiting:
                yield result(client, waiting.popleft())
        finally:
            if waiting and client.status == "running":
                client.cancel(list(waiting))


def first(client: Client, futures: Sequence[Future]) -> tuple[int, Any]:
    """The index of the first of some results that is there, and the result; see `results` for what is raised."""
    while True:
        for number, future in enumerate(futures):
            if future.done():
                return number, result(client, future)
        with suppress(TimeoutError):  # then the first one's `result` sees whether there still is a worker
            wait(futures, timeout=LOOK, return_when="FIRST_COMPLETED")
            continue
        if not client.nthreads():
            return 0, result(client, futures[0])


def result(client: Client, future: Future) -> Any:
    """Wait for a result; see `results` for what is raised."""
    seen = time.monotonic()
    while True:
        try:
            return future.result(timeout=LOOK)
        except TimeoutError as error:
            if client.nthreads():
                seen = time.monotonic()
            elif time.monotonic() - seen > PATIENCE:
                raise _nobody(client) from error
        except KilledWorker as error:
            raise BackendError.single(
                "several workers died of the same part of the work",
                str(error.last_worker.address),
                remedy="Give the workers more memory, or look at what they logged",
            ) from error
