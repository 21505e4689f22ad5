"""The ledger and the trials that follow from it: cut files, hand-written events, ranking, listeners."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bowl_events import KINDS, epoch_result, event_of
from hypothesis import given
from hypothesis import strategies as st

from search.errors import LedgerDamaged
from search.records.events import EpochResult, Event, Failed, Noted, Saved, Suggested, from_json, to_json
from search.records.ledger import Ledger, read_events
from search.records.state import SearchState
from search.records.trials import TrialRecord
from trainables.contract import Mode, Objective

MIN = Objective("valid/height", "min")


def saved(number: int) -> Event:
    """One of several events that differ in a number."""
    return event_of("saved", trial="t0", epoch=number)


def numbers(file: Path) -> list[int]:
    """Of the events that a file holds."""
    return [event.epoch for event in read_events(file) if isinstance(event, Saved)]


def test_events_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    ticks, heard = iter([10.0, 10.5, 12.3456]), list[Event]()
    with Ledger(tmp_path / "l.jsonl", clock=lambda: next(ticks)) as ledger:
        ledger.subscribe(heard.append)
        ledger.append(event_of("suggested", trial="t0", config={"x": 0.1, "tilt": None, "name": "größe"}))
        ledger.append(event_of("finished", trial="t0", reason="line\nbreak"))
    assert list(read_events(tmp_path / "l.jsonl")) == heard
    assert [event.elapsed_s for event in heard] == [0.5, 2.346]
    assert (tmp_path / "l.jsonl").read_bytes().count(b"\n") == 2
    assert list(json.loads((tmp_path / "l.jsonl").read_text().splitlines()[0]))[:3] == ["event", "time", "elapsed_s"]
    assert heard[0].time.endswith("+00:00")


EPOCH = epoch_result(7, metrics={"valid/height": 0.1 + 0.2}, score=1e-300, is_best=True, gpus=0.25, system={"cpu": 1 / 3})
MADE: dict[str, dict[str, Any]] = {
    "search_started": {"name": "mine", "num_trials": 3, "code_version": "abc", "environment": {"host": "here"}},
    "search_resumed": {"name": "mine", "num_trials": 3},
    "search_ended": {"reason": "all trials"},
    "noted": {"text": "sampler gp draws at random"},
    "terminated": {"text": "little is to be expected"},
    "rung_dropped": {"rung": 1, "grace_period": 3, "correlation": -0.4},
    "packed": {"gpus_per_trial": 0.25},
    "fused": {"shape": [None, 0.0, 1, "round", True], "num_trials": 8, "settled": True},
    "warm_started": {"search": "earlier", "num_left_out": 2, "trials": [{"config": {"x": None}, "score": 0.5}]},
    "out_of_race": {"candidate": "t0004", "reason": "failed on seed 7"},
    "suggested": {
        "trial": "t0",
        "config": {"a": None, "b": True, "c": 1, "d": -0.0, "e": "x"},
        "seed": 7,
        "fold": 2,
        "epochs": 9,
    },
    "started": {"trial": "t0", "where": {"host": "here", "pid": 7, "gpu_mib": 141.5}, "notes": ["smaller"]},
    "retried": {
        "trial": "t0",
        "kind": "memory",
        "reason": "no room",
        "gpus_per_trial": 0.5,
        "batch_parts": 2,
        "suspects": ("t0", 2),
    },
    "reported": {"trial": "t0", "epochs": [EPOCH]},
    "checkpointed": {"trial": "t0", "epoch": 7, "path": "trials/t0/best-00007", "sha256": "ab", "metrics": {"valid/height": 0.5}},
    "checkpoint_deleted": {"trial": "t0", "path": "trials/t0/best-00007"},
    "saved": {"trial": "t0", "epoch": 7},
    "paused": {"trial": "t0", "reason": "rung 3"},
    "promoted": {"trial": "t0"},
    "continued": {"trial": "t0"},
    "finished": {"trial": "t0", "reason": "patience"},
    "stopped": {"trial": "t0", "reason": "rung 3"},
    "failed": {"trial": "t0", "reason": "RuntimeError: broke"},
    "interrupted": {"trial": "t0", "reason": "Ctrl-C"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_event_comes_back_field_by_field(kind: str) -> None:
    event = event_of(kind, 2.5, **MADE[kind])
    found = from_json(to_json(event))
    assert type(found) is type(event)
    assert found == event


@pytest.mark.parametrize("kind", KINDS)
def test_a_field_too_many_and_a_field_too_few_are_refused(kind: str) -> None:
    document = json.loads(to_json(event_of(kind, 2.5, **MADE[kind])))
    with pytest.raises(ValueError, match="unexpected_keyword_argument"):
        from_json(json.dumps({**document, "added": 1}).encode())
    needed = next(iter(MADE[kind]))
    with pytest.raises(ValueError, match=f"{needed}.*Field required|missing"):
        from_json(json.dumps({name: value for name, value in document.items() if name != needed}).encode())


def test_a_value_of_another_type_is_refused() -> None:
    for line in (b'{"event": "saved", "trial": "t0", "epoch": "seven"}', b'{"event": "noted", "text": 7}', b'{"event": "gone"}'):
        with pytest.raises(ValueError, match="validation error"):
            from_json(line)


def test_a_name_that_is_no_utf8_comes_back(tmp_path: Path) -> None:
    """As Python reads it from a file system; a JSON parser may refuse the half of a pair that it is written as."""
    with Ledger(tmp_path / "l.jsonl") as ledger:
        ledger.append(event_of("failed", trial="t0", reason="DataError: ISIC\udce9.jpg must be an image"))
    (event,) = read_events(tmp_path / "l.jsonl")
    assert isinstance(event, Failed)
    assert event.reason == "DataError: ISIC\udce9.jpg must be an image"


def test_floats_come_back_bit_for_bit(tmp_path: Path) -> None:
    values = {"a": 0.1 + 0.2, "b": 1e-300, "c": 1 / 3, "d": -0.0}
    with Ledger(tmp_path / "l.jsonl") as ledger:
        ledger.append(event_of("suggested", trial="t0", config=values))
    (event,) = read_events(tmp_path / "l.jsonl")
    assert isinstance(event, Suggested)
    assert {name: float(str(value)).hex() for name, value in event.config.items()} == {n: v.hex() for n, v in values.items()}


def test_an_event_is_on_disk_before_the_next_line_of_code(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.jsonl") as ledger:
        for number in range(3):
            ledger.append(saved(number))
            assert numbers(tmp_path / "l.jsonl") == list(range(number + 1))


def test_a_missing_ledger_has_no_events(tmp_path: Path) -> None:
    assert list(read_events(tmp_path / "none.jsonl")) == []


def test_an_existing_ledger_is_appended_to(tmp_path: Path) -> None:
    for number in range(2):
        with Ledger(tmp_path / "l.jsonl") as ledger:
            ledger.append(saved(number))
    assert numbers(tmp_path / "l.jsonl") == [0, 1]


VALUES = st.text(max_size=5) | st.integers() | st.none() | st.booleans() | st.floats(-1, 1)
DRAWN = st.builds(Noted, text=st.text()) | st.builds(
    Suggested,
    trial=st.text(max_size=5),
    config=st.dictionaries(st.sampled_from("abc"), VALUES),
    seed=st.integers(0, 9),
    fold=st.none() | st.integers(1, 5),
)


@given(st.lists(DRAWN, min_size=1, max_size=5), st.data())
def test_a_file_cut_at_any_byte_keeps_every_whole_line(events: list[Event], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "l.jsonl"
        with Ledger(file, clock=lambda: 0.0) as ledger:
            written: list[Event] = []
            ledger.subscribe(written.append)
            ledger.extend(events)
        whole = file.read_bytes()
        length = data.draw(st.integers(0, len(whole)))
        file.write_bytes(whole[:length])
        assert list(read_events(file)) == written[: whole[:length].count(b"\n")]


def test_a_short_file_cut_at_every_byte_keeps_every_whole_line(tmp_path: Path) -> None:
    lines = [to_json(saved(number)) + b"\n" for number in range(3)]
    whole = b"".join(lines)
    for length in range(len(whole) + 1):
        (tmp_path / "l.jsonl").write_bytes(whole[:length])
        assert numbers(tmp_path / "l.jsonl") == list(range(whole[:length].count(b"\n")))


def test_a_ledger_that_was_cut_short_can_be_gone_on_with(tmp_path: Path) -> None:
    """The half line of a crash was never acknowledged; it must not spoil the first line written after it."""
    with Ledger(tmp_path / "l.jsonl") as ledger:
        ledger.append(saved(0))
        ledger.append(saved(1))
    whole = (tmp_path / "l.jsonl").read_bytes()
    (tmp_path / "l.jsonl").write_bytes(whole[:-5])
    with Ledger(tmp_path / "l.jsonl") as ledger:
        ledger.append(saved(2))
    assert numbers(tmp_path / "l.jsonl") == [0, 2]


def test_listeners_hear_events_in_the_files_order_even_when_one_appends(tmp_path: Path) -> None:
    heard: list[tuple[str, int]] = []
    with Ledger(tmp_path / "l.jsonl") as ledger:

        def appends(event: Event) -> None:
            heard.append(("first", event.epoch))
            if event.epoch in (0, 1):
                ledger.append(saved(event.epoch + 1))
                ledger.append(saved(10 + event.epoch))

        ledger.subscribe(appends)
        ledger.subscribe(lambda event: heard.append(("second", event.epoch)))
        ledger.append(saved(0))
        ledger.append(saved(99))
    in_file = numbers(tmp_path / "l.jsonl")
    assert sorted(in_file) == [0, 1, 2, 10, 11, 99]
    assert heard == [(listener, number) for number in in_file for listener in ("first", "second")]


def test_a_listener_hears_nothing_from_before_it_subscribed(tmp_path: Path) -> None:
    heard: list[int] = []
    with Ledger(tmp_path / "l.jsonl") as ledger:
        ledger.append(saved(0))
        ledger.subscribe(lambda event: heard.append(event.epoch))
        ledger.append(saved(1))
    assert heard == [1]


def test_a_listener_that_raises_does_not_silence_the_later_events(tmp_path: Path) -> None:
    heard: list[int] = []

    def breaks_once(event: Event) -> None:
        heard.append(event.epoch)
        if event.epoch == 0:
            raise RuntimeError("the listener broke")

    with Ledger(tmp_path / "l.jsonl") as ledger:
        ledger.subscribe(breaks_once)
        with pytest.raises(RuntimeError, match="the listener broke"):
            ledger.append(saved(0))
        ledger.append(saved(1))
        ledger.append(saved(2))
    assert [number for number in heard if number] == [1, 2]


TIME = "2026-01-01T00:00:00.000+00:00"


def _event(kind: str, elapsed_s: float, **payload: Any) -> Event:
    return replace(event_of(kind, elapsed_s, **payload), time=TIME)


def _epoch(epoch: int, value: float, score: float, is_best: bool, seconds: float = 2.0) -> EpochResult:
    return epoch_result(epoch=epoch, metrics={"valid/height": value}, score=score, seconds=seconds, is_best=is_best)


def _checkpoint(elapsed_s: float, trial: str, epoch: int, sha256: str) -> Event:
    return _event("checkpointed", elapsed_s, trial=trial, epoch=epoch, path=f"trials/{trial}/best-{epoch:05d}", sha256=sha256)


ONE = [_epoch(1, 3.0, 3.0, True), _epoch(2, 2.0, 2.5, True, 3.0)]
TWO = [_epoch(1, 5.0, 5.0, True), _epoch(2, 6.0, 5.5, False)]
EVENTS = [
    _event("search_started", 0.0),
    _event("suggested", 0.5, trial="t0", config={"x": 0.0}, seed=7),
    _event("started", 1.0, trial="t0", where={"host": "here"}, notes=["smaller images", "no dropout"]),
    _event("suggested", 1.1, trial="t1", config={"x": 1.0}, seed=8),
    _event("suggested", 1.2, trial="t2", config={"x": 2.0}, seed=9),
    _event("suggested", 1.3, trial="t3", config={"x": 3.0}, seed=10),
    _event("suggested", 1.4, trial="t4", config={"x": 4.0}, seed=11),
    _event("started", 1.5, trial="t1", where={"host": "there"}, notes=[]),
    _event("reported", 2.0, trial="t0", epochs=ONE[:1]),
    _checkpoint(2.1, "t0", 1, "aa"),
    _event("reported", 3.0, trial="t1", epochs=TWO),
    _checkpoint(3.1, "t1", 1, "cc"),
    _event("stopped", 3.2, trial="t1", reason="rung 2"),
    _event("reported", 4.0, trial="t0", epochs=ONE[1:]),
    _checkpoint(4.1, "t0", 2, "bb"),
    _event("finished", 4.2, trial="t0", reason="max_epochs"),
    _event("checkpoint_deleted", 4.3, trial="t1", path="trials/t1/best-00001"),
    _event("checkpoint_deleted", 4.4, trial="t0", path="trials/t0/best-00001"),
    _event("started", 4.5, trial="t2", where={}, notes=[]),
    _event("failed", 5.0, trial="t2", reason="RuntimeError: broke"),
    _event("started", 5.1, trial="t3", where={}, notes=[]),
    _event("interrupted", 6.0, trial="t3", reason="Ctrl-C"),
    _event("search_ended", 7.25, reason="interrupted"),
]


def _timed(epochs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Epochs as a record has them: each with the time of its event."""
    return [replace(epoch, time=TIME) for epoch in epochs]


def test_a_ledger_folds_into_the_records_written_by_hand() -> None:
    state = SearchState.of(EVENTS, MIN)
    times = {name: (record.suggested_s, record.heard_s, record.ended) for name, record in state.trials.items()}
    assert times == {
        "t0": (0.5, 4.0, TIME),
        "t1": (1.1, 3.0, TIME),
        "t2": (1.2, 1.2, TIME),
        "t3": (1.3, 1.3, None),
        "t4": (1.4, 1.4, None),
    }
    assert {record.suggested for record in state.trials.values()} == {TIME}
    timeless = {"suggested": "", "suggested_s": 0.0, "heard_s": 0.0, "ended": None}
    assert {name: replace(record, **timeless) for name, record in state.trials.items()} == {
        "t0": TrialRecord(
            "t0",
            {"x": 0.0},
            7,
            state="finished",
            reason="max_epochs",
            epochs=_timed(ONE),
            best_epoch=2,
            score_epoch=2,
            best_window=2,
            value=2.0,
            score=2.5,
            best_metrics={"valid/height": 2.0},
            checkpoint="trials/t0/best-00002",
            sha256="bb",
            where={"host": "here"},
            notes=["smaller images", "no dropout"],
            checkpoint_epoch=2,
        ),
        "t1": TrialRecord(
            "t1",
            {"x": 1.0},
            8,
            state="stopped",
            reason="rung 2",
            epochs=_timed(TWO),
            best_epoch=1,
            score_epoch=1,
            best_window=1,
            value=5.0,
            score=5.0,
            best_metrics={"valid/height": 5.0},
            where={"host": "there"},
            notes=[],
            checkpoint_epoch=1,
        ),
        "t2": TrialRecord("t2", {"x": 2.0}, 9, state="failed", reason="RuntimeError: broke", notes=[]),
        "t3": TrialRecord("t3", {"x": 3.0}, 10, state="interrupted", reason="Ctrl-C", notes=[]),
        "t4": TrialRecord("t4", {"x": 4.0}, 11),
    }
    assert state.trials["t0"].train_s == 5.0
    assert (state.ended, state.wall_s) == ("interrupted", 7.25)
    assert [state.count(state) for state in ("suggested", "finished", "stopped", "failed", "interrupted")] == [1] * 5
    assert state.count("finished", "stopped") == 2


def test_every_prefix_of_a_ledger_folds_into_trials() -> None:
    for length in range(len(EVENTS) + 1):
        state = SearchState.of(EVENTS[:length], MIN)
        assert len(state.trials) == sum(event.event == "suggested" for event in EVENTS[:length])
        assert (state.ended is None) is (length < len(EVENTS))


def _ranked(scores: Mapping[str, tuple[int, float]], mode: Mode, failed: tuple[str, ...] = ()) -> list[str]:
    """Trials with (best epoch, score), each running; those named fail."""
    state = SearchState(Objective("valid/height", mode))
    for trial, (epoch, score) in scores.items():
        state.apply(_event("suggested", 0.0, trial=trial, config={}, seed=0))
        state.apply(_event("reported", 1.0, trial=trial, epochs=[_epoch(epoch, score, score, True)]))
    for trial in failed:
        state.apply(_event("failed", 2.0, trial=trial, reason="broke"))
    return [trial.trial for trial in state.ranked()]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("max", ["late", "third", "negative", "second", "second_low", "first"]),
        ("min", ["negative", "third", "late", "second_low", "second", "first"]),
    ],
)
def test_a_mean_over_fewer_than_three_validations_never_beats_one_over_three(mode: Mode, expected: list[str]) -> None:
    scores = {
        "first": (1, 0.99),
        "second_low": (2, 0.1),
        "negative": (4, -0.5),
        "third": (3, 0.2),
        "second": (2, 0.95),
        "late": (50, 0.3),
    }
    assert _ranked(scores, mode) == expected


def test_failed_trials_and_trials_without_a_score_are_not_ranked() -> None:
    assert _ranked({"a": (3, 0.1), "b": (3, 0.9), "c": (3, 0.5)}, "max", failed=("b",)) == ["c", "a"]
    state = SearchState.of([_event("suggested", 0.0, trial="t0", config={}, seed=0)], MIN)
    assert state.ranked() == []


def test_of_equal_trials_the_earlier_leads() -> None:
    assert _ranked({"a": (3, 0.5), "b": (9, 0.5), "c": (4, 0.5)}, "max") == ["a", "b", "c"]
    assert _ranked({"a": (3, 0.5), "b": (9, 0.5), "c": (4, 0.5)}, "min") == ["a", "b", "c"]


def test_a_score_of_nought_ranks_by_its_number() -> None:
    assert _ranked({"a": (3, 0.0), "b": (3, 0.1), "c": (3, -0.1)}, "max") == ["b", "a", "c"]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every path that is brought to the disk, from here on."""
    fsync, found = os.fsync, list[str]()

    def note(handle: int) -> None:
        found.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    monkeypatch.setattr("os.fsync", note)
    return found


def test_a_ledgers_name_and_each_of_its_events_are_brought_to_the_disk(tmp_path: Path, synced: list[str]) -> None:
    with Ledger(tmp_path / "l.jsonl") as ledger:
        assert synced == [str(tmp_path)]
        ledger.append(saved(0))
        ledger.extend([saved(1), saved(2)])
        ledger.extend([])
    assert synced == [str(tmp_path)] + [str(tmp_path / "l.jsonl")] * 2


def test_time_goes_on_where_the_last_process_left_it(tmp_path: Path) -> None:
    elapsed: list[float] = []
    for ticks in ([100.0, 107.5], [3.0, 3.0, 5.0]):
        left = iter(ticks)
        with Ledger(tmp_path / "l.jsonl", clock=left.__next__) as ledger:
            ledger.subscribe(lambda event: elapsed.append(event.elapsed_s))
            for number in range(len(ticks) - 1):
                ledger.append(saved(number))
    assert elapsed == [7.5, 7.5, 9.5]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"no json", r"b'no json\\n'"),
        (b'["event"]', r"b'\[\"event\"\]\\n'"),
        (b'{"kind": "n"}', r"b'{\"kind\": \"n\"}\\n'"),
        (b'"event"', r"b'\"event\"\\n'"),
        (b"[" * 100_000, r"b'\[{60}'"),
    ],
)
def test_a_line_without_an_event_is_damage_and_said_with_its_number(tmp_path: Path, line: bytes, shown: str) -> None:
    file = tmp_path / "l.jsonl"
    file.write_bytes(to_json(saved(0)) + b"\n" + line + b"\n")
    must = f"every line of {file} must hold an event of this version of dermtune"
    said = rf"^{must}; got {shown} on line 2 \(damaged, or another version's\)$"
    with pytest.raises(LedgerDamaged, match=said):
        list(read_events(file))


def test_an_epoch_may_have_had_another_share_of_a_gpu_than_was_planned() -> None:
    epochs = [_epoch(1, 3.0, 3.0, True, 10.0), replace(_epoch(2, 2.0, 2.5, True, 4.0), gpus=0.25)]
    state = SearchState.of([*EVENTS[:3], _event("reported", 2.0, trial="t0", epochs=epochs)], MIN)
    assert state.trials["t0"].gpu_s(0.5) == 10.0 * 0.5 + 4.0 * 0.25


def test_a_search_that_resumes_has_not_ended() -> None:
    assert SearchState.of(EVENTS, MIN).ended == "interrupted"
    assert SearchState.of([*EVENTS, _event("search_resumed", 7.5)], MIN).ended is None


def test_a_trial_remembers_why_it_began_again() -> None:
    retries = [_event("retried", 2.0, trial="t0", reason=reason) for reason in ("WorkerDied: gone", "NodeLost: away")]
    state = SearchState.of([*EVENTS[:3], *retries], MIN)
    assert [retried.reason for retried in state.trials["t0"].retries] == ["WorkerDied: gone", "NodeLost: away"]
    assert state.trials["t0"].state == "running"


def test_the_first_few_are_the_best_of_those_with_a_score_that_have_not_failed() -> None:
    state = SearchState.of(EVENTS[:1], MIN)
    for trial, score in (("a", 3.0), ("b", None), ("c", 1.0), ("d", 0.5), ("e", 2.0)):
        state.apply(_event("suggested", 1.0, trial=trial, config={}, seed=0))
        if score is not None:
            state.apply(_event("reported", 2.0, trial=trial, epochs=[_epoch(3, score, score, True)]))
    state.apply(_event("failed", 3.0, trial="d", reason="broke"))
    assert [trial.trial for trial in state.first(2, state.trials.values())] == ["c", "e"]
    assert [trial.trial for trial in state.first(9, state.trials.values())] == ["c", "e", "a"]


def test_the_front_stands_before_better_ranked_trials_when_there_are_several_objectives() -> None:
    """t1 is beaten by t0 in both; t2 ranks last by height, and nobody is as light."""
    objectives = (Objective("valid/height", "min"), Objective("valid/weight", "min"))
    state = SearchState(objectives[0])
    for trial, height, weight in (("t0", 1.0, 5.0), ("t1", 2.0, 6.0), ("t2", 3.0, 1.0)):
        metrics = {"valid/height": height, "valid/weight": weight}
        state.apply(_event("suggested", 1.0, trial=trial, config={}, seed=0))
        state.apply(_event("reported", 2.0, trial=trial, epochs=[replace(_epoch(3, height, height, True), metrics=metrics)]))
    assert [trial.trial for trial in state.front_first(objectives)] == ["t0", "t2", "t1"]
    assert [trial.trial for trial in state.front_first(objectives[:1])] == ["t0", "t1", "t2"]


def test_a_trials_value_is_that_of_the_epoch_that_it_keeps_and_its_score_the_mean() -> None:
    record = TrialRecord("t0", {}, 0)
    for epoch, (value, kept) in enumerate([(0.5, 1), (0.75, 2), (0.6, 2), (0.61, 2)], start=1):
        metrics = {"valid/height": value, "valid/cost": epoch * 10.0}
        record.add_epoch(
            epoch_result(epoch=epoch, metrics=metrics, score=0.5 + epoch / 100, is_best=True, window=min(epoch, 3), kept=kept)
        )
    assert (record.best_epoch, record.score_epoch, record.score, record.best_window) == (2, 4, 0.54, 3)
    assert record.best_metrics == {"valid/height": 0.75, "valid/cost": 20.0}
    assert record.mean_at_best("valid/cost") == 30.0, "over the epochs of the score"
