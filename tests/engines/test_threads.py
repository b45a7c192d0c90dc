"""How many threads there are, and that parts come in order and are never made far ahead."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from loihi_deploy.engines import threads
from loihi_deploy.engines.threads import VARIABLE, in_order, parts_of, thread_count
from loihi_deploy.errors import InputError


@pytest.mark.parametrize("number", [1, 2, 7])
def test_a_number_that_is_given_counts(number, monkeypatch):
    monkeypatch.setenv(VARIABLE, "5")
    assert thread_count(number) == number
    assert thread_count() == 5


def test_without_any_number_the_cores_that_this_process_may_use(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3, 5}, raising=False)
    assert thread_count() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert thread_count() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert thread_count() == 1


@pytest.mark.parametrize("number", [0, -1])
def test_no_number_of_threads(number):
    with pytest.raises(InputError) as caught:
        thread_count(number)
    (problem,) = caught.value.problems
    assert (problem.what, problem.where, problem.value, problem.limit) == (
        "not a number of threads",
        "threads",
        number,
        "at least 1",
    )


@pytest.mark.parametrize("text", ["0", "-2", "two", "1.5", ""])
def test_no_number_in_the_environment(text, monkeypatch):
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(InputError) as caught:
        thread_count()
    (problem,) = caught.value.problems
    assert (problem.where, problem.value, problem.limit) == (
        f"environment variable {VARIABLE}",
        text,
        "at least 1",
    )
    monkeypatch.setenv(VARIABLE, "1")
    assert thread_count() == 1


@pytest.mark.parametrize(
    ("n", "size", "parts"),
    [(0, 3, []), (3, 3, [(0, 3)]), (7, 3, [(0, 3), (3, 6), (6, 7)]), (2, 5, [(0, 2)])],
)
def test_parts_follow_one_another(n, size, parts):
    assert [(part.start, part.stop) for part in parts_of(n, size)] == parts


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("n", [0, 1, 2, 20])
def test_results_come_in_order_of_their_parts(n_threads, n):
    assert list(in_order(lambda k: k * k, range(n), n_threads)) == [(k, k * k) for k in range(n)]


def test_on_one_thread_a_part_is_worked_on_when_it_is_asked_for():
    """So it is for a single part, too: by the thread that asks."""
    done = []
    results = in_order(done.append, "abc", 1)
    assert done == []
    assert next(results) == ("a", None)
    assert done == ["a"]
    assert list(in_order(lambda _: threading.get_ident(), ["only"], 4)) == [("only", threading.get_ident())]
    others = dict(in_order(lambda _: threading.get_ident(), ["one", "two"], 2))
    assert threading.get_ident() not in others.values()


@pytest.mark.parametrize("n_threads", [2, 3])
def test_twice_as_many_parts_as_threads_wait(n_threads, monkeypatch):
    given = []

    class Counting(ThreadPoolExecutor):
        def submit(self, function, part):
            given.append(part)
            return super().submit(function, part)

    monkeypatch.setattr(threads, "_pool", lambda n, process: Counting(n))
    results = in_order(lambda part: part, range(20), n_threads)
    for taken in range(1, 15):
        assert next(results)[0] == taken - 1
        assert given == list(range(min(taken + 2 * n_threads, 20)))
    assert [part for part, _ in results] == list(range(14, 20))


def test_an_error_of_a_part_comes_where_its_result_would():
    def work(k):
        if k == 3:
            raise ValueError("three")
        return k

    results = in_order(work, range(9), 2)
    assert [next(results) for _ in range(3)] == [(k, k) for k in range(3)]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_threads_are_kept_and_done_when_a_call_ends():
    both = threading.Barrier(2, timeout=10)

    def work(_):
        both.wait()
        return threading.current_thread()

    used = {thread for _ in range(2) for _, thread in in_order(work, "ab", 2)}
    assert len(used) == 2
    done = []

    def fail_or_wait(k):
        both.wait()
        if k == 0:
            raise ValueError("zero")
        time.sleep(0.2)
        done.append(k)

    with pytest.raises(ValueError, match="zero"):
        list(in_order(fail_or_wait, range(2), 2))
    assert done == [1]
