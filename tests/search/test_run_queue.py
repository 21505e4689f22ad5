"""Work for a store: in order where it is about the same run, side by side where it is not."""

import threading

import pytest

from search.records.tracking.run_queue import RunQueue


def test_a_single_sender_works_at_once_in_the_thread_that_asks() -> None:
    queue, done = RunQueue(1), list[str]()
    queue.submit("a", lambda: done.append(threading.current_thread().name))
    assert done == [threading.current_thread().name]
    with pytest.raises(ValueError, match="no store"):
        queue.submit("a", lambda: raise_("no store"))
    queue.wait()


@pytest.mark.timeout(20)
def test_two_senders_work_on_two_runs_at_a_time() -> None:
    """Each waits for the other, so one after the other they would never end."""
    queue, both = RunQueue(2), threading.Barrier(2, timeout=10)
    names: list[str] = []

    def meet() -> None:
        both.wait()
        names.append(threading.current_thread().name)

    for run in ("a", "b"):
        queue.submit(run, meet)
    queue.wait()
    assert len(set(names)) == 2
    assert {name.partition("_")[0] for name in names} == {"mlflow"}


@pytest.mark.timeout(20)
def test_what_is_about_one_run_is_done_in_order() -> None:
    queue, may, done = RunQueue(4), threading.Event(), list[str]()

    def first() -> None:
        assert may.wait(10)
        done.append("first")

    queue.submit("a", first)
    queue.submit("a", lambda: done.append("second"))
    queue.submit("a", lambda: done.append("third"))
    queue.submit("b", may.set)
    queue.wait()
    assert done == ["first", "second", "third"]


@pytest.mark.timeout(20)
def test_what_waits_for_a_slow_run_keeps_no_other_run_waiting() -> None:
    """Six pieces of one run, more than there are threads, and the first waits for a piece of another run."""
    queue, other, done = RunQueue(4), threading.Event(), list[str]()

    def first() -> None:
        assert other.wait(10), "the other run's piece found no thread"
        done.append("slow 0")

    queue.submit("slow", first)
    for number in range(1, 6):
        queue.submit("slow", lambda number=number: done.append(f"slow {number}"))  # type: ignore[misc]
    queue.submit("other", other.set)
    queue.wait()
    assert done == [f"slow {number}" for number in range(6)]


@pytest.mark.timeout(20)
def test_an_error_leaves_out_thousands_of_pieces_after_it() -> None:
    queue, done = RunQueue(2), list[int]()
    queue.submit("a", lambda: raise_("the store is away"))
    for number in range(3000):
        queue.submit("a", lambda number=number: done.append(number))  # type: ignore[misc]
    with pytest.raises(ValueError, match="the store is away"):
        queue.wait()
    assert done == []


@pytest.mark.timeout(20)
def test_an_error_is_raised_by_the_wait_and_nothing_follows_it_for_its_run() -> None:
    queue, done = RunQueue(2), list[str]()
    queue.submit("a", lambda: raise_("the store is away"))
    queue.submit("a", lambda: done.append("after the error"))
    queue.submit("b", lambda: done.append("of another run"))
    with pytest.raises(ValueError, match="the store is away"):
        queue.wait()
    queue.submit("a", lambda: done.append("anew"))
    queue.wait()
    assert sorted(done) == ["anew", "of another run"]


def raise_(text: str) -> None:
    raise ValueError(text)
