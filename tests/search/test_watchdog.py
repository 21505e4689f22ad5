"""Which silence is too long, by hand."""

from search.strategy.heartbeat import FIRST_QUIET_S, QUIET_S, Watchdog


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_trial_may_be_silent_for_several_of_the_longest_silences_of_any() -> None:
    clock = Clock()
    watchdog = Watchdog(clock)
    watchdog.watch("quick")
    watchdog.watch("slow")
    for now in (1.0, 2.0, 40.0, 41.0, 80.0):
        clock.now = now
        watchdog.reported("quick" if now in (1.0, 2.0, 41.0) else "slow")
    # 40 s between two reports of the slow one, so 200 s: what slows one down may slow down the other.
    clock.now = 41.0 + 200.0
    assert watchdog.silent() == {}
    clock.now += 1
    assert watchdog.silent() == {"quick": 201.0}
    clock.now = 281.0
    assert set(watchdog.silent()) == {"quick", "slow"}
    watchdog.forget("quick")
    assert set(watchdog.silent()) == {"slow"}


def test_until_its_second_report_a_trial_may_take_several_of_its_beginning() -> None:
    """On a busy machine the first epoch took a minute and the second two: that is no hanging."""
    clock = Clock()
    watchdog = Watchdog(clock)
    watchdog.watch("busy")
    clock.now = 60.0
    watchdog.reported("busy")
    clock.now += 300.0
    assert watchdog.silent() == {}
    clock.now += 1.0
    assert watchdog.silent() == {"busy": 301.0}
    watchdog.reported("busy")
    watchdog.reported("busy")
    clock.now += 5 * 301.0
    assert watchdog.silent() == {}, "it has been as silent before"


def test_tiny_epochs_leave_a_minute_and_a_half_and_beginnings_an_hour() -> None:
    clock = Clock()
    watchdog = Watchdog(clock)
    watchdog.reported("tiny")
    watchdog.watch("beginning")
    clock.now = QUIET_S
    assert watchdog.silent() == {}
    clock.now = QUIET_S + 1
    assert watchdog.silent() == {"tiny": QUIET_S + 1}
    clock.now = FIRST_QUIET_S + 1
    assert set(watchdog.silent()) == {"tiny", "beginning"}


def test_where_beginnings_are_long_they_may_be_longer() -> None:
    clock = Clock()
    watchdog = Watchdog(clock)
    watchdog.watch("first")
    clock.now = 1000.0
    watchdog.reported("first")
    watchdog.watch("second")
    clock.now += 9999.0
    watchdog.forget("first")
    assert watchdog.silent() == {}
    clock.now += 2.0
    assert watchdog.silent() == {"second": 10_001.0}


def test_a_beginning_lasts_from_when_it_is_watched_to_its_first_report() -> None:
    clock = Clock()
    watchdog = Watchdog(clock)
    clock.now = 5000.0
    watchdog.watch("first")
    clock.now = 5400.0
    watchdog.reported("first")
    watchdog.watch("second")
    watchdog.forget("first")
    clock.now += 4000.0
    assert watchdog.silent() == {}, "ten of the 400 s that the first took"
    clock.now += 1.0
    assert watchdog.silent() == {"second": 4001.0}
