"""Threads for compiled code that holds no lock of the interpreter."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import lru_cache
from typing import TypeVar

from loihi_deploy.errors import InputError

VARIABLE = "LOIHI_DEPLOY_THREADS"

_Part = TypeVar("_Part")
_Result = TypeVar("_Result")


def thread_count(threads: int | None = None) -> int:
    """How many threads to use: the argument, the environment variable LOIHI_DEPLOY_THREADS, or the machine's cores.

    Raises
    ------
    InputError
        If one of the first two is no positive number.
    """
    if threads is not None:
        if threads < 1:
            raise InputError.single("not a number of threads", "threads", threads, "at least 1")
        return threads
    text = os.environ.get(VARIABLE)
    if text is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not text.isdecimal() or int(text) < 1:
        raise InputError.single(
            "not a number of threads", f"environment variable {VARIABLE}", text, "at least 1"
        )
    return int(text)


def parts_of(n: int, size: int) -> list[slice]:
    """Consecutive parts of `size`, the last one what is left, of `n` samples."""
    return [slice(first, min(first + size, n)) for first in range(0, n, size)]


def in_order(
    function: Callable[[_Part], _Result], parts: Sequence[_Part], threads: int
) -> Iterator[tuple[_Part, _Result]]:
    """Apply a function to parts on several threads; results come in order, and are never made far ahead."""
    if threads == 1 or len(parts) == 1:
        for part in parts:
            yield part, function(part)
        return
    waiting: deque[tuple[_Part, Future[_Result]]] = deque()
    pool = _pool(threads, os.getpid())
    try:
        for part in parts:
            waiting.append((part, pool.submit(function, part)))
            if len(waiting) > 2 * threads:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        wait([future for _, future in waiting if not future.cancel()])


@lru_cache(maxsize=1)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """The threads of a process, with the memory that each has taken; a fork has none."""
    return ThreadPoolExecutor(threads)
