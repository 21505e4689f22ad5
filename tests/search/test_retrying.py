"""Calls to a store that is away: which errors are tried again, for how long, and what is said of it."""

import logging
from collections.abc import Callable

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2 as codes
from sqlalchemy.exc import OperationalError

from search.records.tracking import retrying
from search.records.tracking.retrying import RetryingCaller, StoreAway

URI = "postgresql://someone:secret@nowhere/db"
AWAY = MlflowException("the database is locked", error_code=codes.TEMPORARILY_UNAVAILABLE)
REFUSED = MlflowException("no such parameter", error_code=codes.INVALID_PARAMETER_VALUE)


class Clock:
    """Seconds that pass only by sleeping, or when the test says so."""

    def __init__(self) -> None:
        self.now, self.pauses = 1000.0, list[float]()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


class Store:
    """Answers "yes" after so many errors; `up` is whether it answers anybody else."""

    def __init__(self, failures: float, error: Exception = AWAY, up: bool = False) -> None:
        self.failures, self.error, self.up, self.calls = failures, error, up, 0

    def ask(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return "yes"

    def connect(self, uri: str) -> None:
        assert uri == URI
        if not self.up:
            raise AWAY


MakeStore = Callable[..., Store]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(retrying, "time", found)
    return found


@pytest.fixture
def make_store(monkeypatch: pytest.MonkeyPatch) -> MakeStore:
    """A store that `connect` reaches, too."""

    def make(failures: float, error: Exception = AWAY, up: bool = False) -> Store:
        store = Store(failures, error, up)
        monkeypatch.setattr(retrying, "connect", store.connect)
        return store

    return make


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "dermtune.tracking"]


@pytest.mark.parametrize(
    "error",
    [
        AWAY,
        MlflowException("API request failed with exception timeout"),
        MlflowException("too many", error_code=codes.REQUEST_LIMIT_EXCEEDED),
        OperationalError("SELECT 1", {}, Exception("server closed the connection")),
        ConnectionResetError("reset by peer"),
        TimeoutError("timed out"),
    ],
)
@pytest.mark.parametrize("failures", [0, 1, 4, 50])
def test_what_may_pass_is_tried_until_it_has(error: Exception, failures: int, clock: Clock, make_store: MakeStore) -> None:
    store = make_store(failures, error)
    assert RetryingCaller(URI).call(store.ask) == "yes"
    assert store.calls == failures + 1
    assert len(clock.pauses) == failures


def test_pauses_double_up_to_two_seconds(clock: Clock, make_store: MakeStore) -> None:
    RetryingCaller(URI).call(make_store(7).ask)
    assert clock.pauses == pytest.approx([0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0])


@pytest.mark.parametrize(
    "code",
    [
        codes.INVALID_PARAMETER_VALUE,
        codes.RESOURCE_DOES_NOT_EXIST,
        codes.RESOURCE_ALREADY_EXISTS,
        codes.PERMISSION_DENIED,
        codes.UNAUTHENTICATED,
        codes.BAD_REQUEST,
        codes.INVALID_STATE,
    ],
)
def test_a_refusal_is_raised_at_once(code: int, clock: Clock, make_store: MakeStore) -> None:
    store = make_store(99, MlflowException("it may not be", error_code=code))
    with pytest.raises(MlflowException, match="it may not be"):
        RetryingCaller(URI).call(store.ask)
    assert (store.calls, clock.pauses) == (1, [])


def test_what_is_no_error_of_a_store_is_raised_at_once(clock: Clock, make_store: MakeStore) -> None:
    store = make_store(99, ZeroDivisionError("a defect of ours"))
    with pytest.raises(ZeroDivisionError, match="a defect of ours"):
        RetryingCaller(URI).call(store.ask)
    assert store.calls == 1


def test_a_store_that_answers_others_and_never_this_call_is_not_waited_for(clock: Clock, make_store: MakeStore) -> None:
    store = make_store(99, MlflowException("an internal error"), up=True)
    with pytest.raises(MlflowException, match="an internal error"):
        RetryingCaller(URI).call(store.ask)
    assert store.calls == 5


def test_a_running_search_waits_without_end(clock: Clock, make_store: MakeStore) -> None:
    store = make_store(5000)
    assert RetryingCaller(URI, patience_s=1.0).call(store.ask) == "yes"
    assert clock.now - 1000 > 9000


def test_after_the_last_calls_patience_ends(clock: Clock, make_store: MakeStore) -> None:
    caller, store = RetryingCaller(URI, patience_s=30.0), make_store(10**6)
    clock.now += 500
    caller.last_calls()
    begun = clock.now
    with pytest.raises(StoreAway, match=r"postgresql://someone:\*\*\*@nowhere/db is away: the database is locked") as raised:
        caller.call(store.ask)
    assert raised.value.__cause__ is AWAY
    assert 30 <= clock.now - begun <= 32, "not before, and not much later"


def test_the_last_calls_may_come_while_a_call_waits(clock: Clock, make_store: MakeStore) -> None:
    caller, asked = RetryingCaller(URI, patience_s=10.0), 0
    make_store(0)

    def ask() -> str:
        nonlocal asked
        asked += 1
        if asked == 20:
            caller.last_calls()
        raise AWAY

    with pytest.raises(StoreAway, match="is away"):
        caller.call(ask)
    assert asked == 20 + 5, "ten seconds are five pauses of two"


def test_every_answer_after_the_last_calls_renews_the_patience(clock: Clock, make_store: MakeStore) -> None:
    """A store that is slow, or goes and comes, is given all that it is owed."""
    caller = RetryingCaller(URI, patience_s=10.0)
    caller.last_calls()
    for _ in range(5):
        clock.now += 8
        assert caller.call(make_store(0).ask) == "yes"
    clock.now += 8
    begun = clock.now
    with pytest.raises(StoreAway, match="is away"):
        caller.call(make_store(10**6).ask)
    assert 2 <= clock.now - begun < 10, "the eight seconds before the call count"


def test_an_answer_before_the_last_calls_sets_no_limit(clock: Clock, make_store: MakeStore) -> None:
    caller = RetryingCaller(URI, patience_s=1.0)
    caller.call(make_store(3).ask)
    assert caller.call(make_store(100).ask) == "yes"


def test_who_has_given_up_asks_once_more(clock: Clock, make_store: MakeStore) -> None:
    caller = RetryingCaller(URI, patience_s=60.0)
    caller.last_calls()
    caller.give_up()
    assert caller.call(make_store(0).ask) == "yes"
    store = make_store(99)
    with pytest.raises(StoreAway, match="is away"):
        caller.call(store.ask)
    assert (store.calls, clock.pauses) == (1, [])


def test_that_it_is_away_and_back_is_said_once_each(
    clock: Clock, make_store: MakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    caller = RetryingCaller(URI)
    caller.call(make_store(40).ask)
    away, back = messages(caplog)
    assert away == (
        "MLflow (postgresql://someone:***@nowhere/db) is away; training goes on, and what it misses is sent when it is back"
    )
    assert back == "MLflow is back after 75 s"  # 0.2 + 0.4 + 0.8 + 1.6 + 36 × 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    caplog.clear()
    caller.call(make_store(0).ask)
    assert messages(caplog) == []


def test_each_time_that_it_is_away_is_said(clock: Clock, make_store: MakeStore, caplog: pytest.LogCaptureFixture) -> None:
    caller = RetryingCaller(URI)
    for _ in range(2):
        caller.call(make_store(6).ask)
    assert ["back" in text.split()[:3] for text in messages(caplog)] == [False, True, False, True]


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_a_hiccup_is_not_worth_a_word(
    failures: int, clock: Clock, make_store: MakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    RetryingCaller(URI).call(make_store(failures).ask)
    assert messages(caplog) == []
