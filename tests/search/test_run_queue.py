"""Work for a store: in order where it is about the same run, side by side where it is not."""

import threading

import pytest

from search.records.tracking.run_queue import RunQueue


def test_a_single_sender_works_at_once_in_the_thread_that_asks() -> None:
    senders, done = RunQueue(1), list[str]()
    senders.submit("a", lambda: done.append(threading.current_thread().name))
    assert done == [threading.current_thread().name]
    with pytest.raises(ValueError, match="no store"):
        senders.submit("a", lambda: raise_("no store"))
    senders.wait()


@pytest.mark.timeout(20)
def test_two_senders_work_on_two_runs_at_a_time() -> None:
    """Each waits for the other, so one after the other they would never end."""
    senders, both = RunQueue(2), threading.Barrier(2, timeout=10)
    names: list[str] = []

    def meet() -> None:
        both.wait()
        names.append(threading.current_thread().name)

    for run in ("a", "b"):
        senders.submit(run, meet)
    senders.wait()
    assert len(set(names)) == 2
    assert {name.partition("_")[0] for name in names} == {"mlflow"}


@pytest.mark.timeout(20)
def test_what_is_about_one_run_is_done_in_order() -> None:
    senders, may, done = RunQueue(4), threading.Event(), list[str]()

    def first() -> None:
        assert may.wait(10)
        done.append("first")

    senders.submit("a", first)
    senders.submit("a", lambda: done.append("second"))
    senders.submit("a", lambda: done.append("third"))
    senders.submit("b", may.set)
    senders.wait()
    assert done == ["first", "second", "third"]


@pytest.mark.timeout(20)
def test_what_waits_for_a_slow_run_keeps_no_other_run_waiting() -> None:
    """Six pieces of one run, more than there are threads, and the first waits for a piece of another run."""
    senders, other, done = RunQueue(4), threading.Event(), list[str]()

    def first() -> None:
        assert other.wait(10), "the other run's piece found no thread"
        done.append("slow 0")

    senders.submit("slow", first)
    for number in range(1, 6):
        senders.submit("slow", lambda number=number: done.append(f"slow {number}"))  # type: ignore[misc]
    senders.submit("other", other.set)
    senders.wait()
    assert done == [f"slow {number}" for number in range(6)]


@pytest.mark.timeout(20)
def test_an_error_leaves_out_thousands_of_pieces_after_it() -> None:
    senders, done = RunQueue(2), list[int]()
    senders.submit("a", lambda: raise_("the store is away"))
    for number in range(3000):
        senders.submit("a", lambda number=number: done.append(number))  # type: ignore[misc]
    with pytest.raises(ValueError, match="the store is away"):
        senders.wait()
    assert done == []


@pytest.mark.timeout(20)
def test_an_error_is_raised_by_the_wait_and_nothing_follows_it_for_its_run() -> None:
    senders, done = RunQueue(2), list[str]()
    senders.submit("a", lambda: raise_("the store is away"))
    senders.submit("a", lambda: done.append("after the error"))
    senders.submit("b", lambda: done.append("of another run"))
    with pytest.raises(ValueError, match="the store is away"):
        senders.wait()
    senders.submit("a", lambda: done.append("anew"))
    senders.wait()
    assert sorted(done) == ["anew", "of another run"]


def raise_(text: str) -> None:
    raise ValueError(text)
