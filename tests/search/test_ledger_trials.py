"""The ledger and the trials that follow from it: cut files, hand-written events, ranking, listeners."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.errors import LedgerDamaged
from search.records.ledger import Event, Ledger, read_events
from search.records.trials import TrialRecord, TrialTable
from trainables.contract import Mode, Objective

MIN = Objective("valid/height", "min")


def test_events_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    ticks = iter([10.0, 10.5, 12.3456])
    with Ledger(tmp_path / "l.jsonl", clock=lambda: next(ticks)) as ledger:
        first = ledger.append("suggested", trial="t0", config={"x": 0.1, "tilt": None, "name": "größe"})
        second = ledger.append("finished", trial="t0", reason="line\nbreak")
    assert list(read_events(tmp_path / "l.jsonl")) == [first, second]
    assert [event["elapsed_s"] for event in (first, second)] == [0.5, 2.346]
    assert (tmp_path / "l.jsonl").read_bytes().count(b"\n") == 2
    assert list(first)[:3] == ["event", "time", "elapsed_s"]
    assert first["time"].endswith("+00:00")


def test_floats_come_back_bit_for_bit(tmp_path: Path) -> None:
    values = [0.1 + 0.2, 1e-300, 1 / 3, -0.0]
    with Ledger(tmp_path / "l.jsonl") as ledger:
        ledger.append("reported", values=values)
    (event,) = read_events(tmp_path / "l.jsonl")
    assert [value.hex() for value in event["values"]] == [value.hex() for value in values]


def test_an_event_is_on_disk_before_the_next_line_of_code(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.jsonl") as ledger:
        for number in range(3):
            ledger.append("n", number=number)
            assert [event["number"] for event in read_events(tmp_path / "l.jsonl")] == list(range(number + 1))


def test_a_missing_ledger_has_no_events(tmp_path: Path) -> None:
    assert list(read_events(tmp_path / "none.jsonl")) == []


def test_an_existing_ledger_is_appended_to(tmp_path: Path) -> None:
    for number in range(2):
        with Ledger(tmp_path / "l.jsonl") as ledger:
            ledger.append("n", number=number)
    assert [event["number"] for event in read_events(tmp_path / "l.jsonl")] == [0, 1]


PAYLOADS = st.dictionaries(st.sampled_from("abc"), st.text(max_size=5) | st.integers() | st.none() | st.lists(st.floats(-1, 1)))


@given(st.lists(PAYLOADS, min_size=1, max_size=5), st.data())
def test_a_file_cut_at_any_byte_keeps_every_whole_line(payloads: list[dict[str, Any]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "l.jsonl"
        with Ledger(file, clock=lambda: 0.0) as ledger:
            written = [ledger.append("e", **payload) for payload in payloads]
        whole = file.read_bytes()
        length = data.draw(st.integers(0, len(whole)))
        file.write_bytes(whole[:length])
        assert list(read_events(file)) == written[: whole[:length].count(b"\n")]


def test_a_short_file_cut_at_every_byte_keeps_every_whole_line(tmp_path: Path) -> None:
    lines = [json.dumps({"event": "e", "number": number}).encode() + b"\n" for number in range(3)]
    whole = b"".join(lines)
    for length in range(len(whole) + 1):
        (tmp_path / "l.jsonl").write_bytes(whole[:length])
        assert [event["number"] for event in read_events(tmp_path / "l.jsonl")] == list(range(whole[:length].count(b"\n")))


def test_a_ledger_that_was_cut_short_can_be_gone_on_with(tmp_path: Path) -> None:
    """The half line of a crash was never acknowledged; it must not spoil the first line written after it."""
    with Ledger(tmp_path / "l.jsonl") as ledger:
        ledger.append("n", number=0)
        ledger.append("n", number=1)
    whole = (tmp_path / "l.jsonl").read_bytes()
    (tmp_path / "l.jsonl").write_bytes(whole[:-5])
    with Ledger(tmp_path / "l.jsonl") as ledger:
        ledger.append("n", number=2)
    assert [event["number"] for event in read_events(tmp_path / "l.jsonl")] == [0, 2]


def test_listeners_hear_events_in_the_files_order_even_when_one_appends(tmp_path: Path) -> None:
    heard: list[tuple[str, int]] = []
    with Ledger(tmp_path / "l.jsonl") as ledger:

        def appends(event: Event) -> None:
            heard.append(("first", event["number"]))
            if event["number"] in (0, 1):
                ledger.append("n", number=event["number"] + 1)
                ledger.append("n", number=10 + event["number"])

        ledger.subscribe(appends)
        ledger.subscribe(lambda event: heard.append(("second", event["number"])))
        ledger.append("n", number=0)
        ledger.append("n", number=99)
    in_file = [event["number"] for event in read_events(tmp_path / "l.jsonl")]
    assert sorted(in_file) == [0, 1, 2, 10, 11, 99]
    assert heard == [(listener, number) for number in in_file for listener in ("first", "second")]


def test_a_listener_hears_nothing_from_before_it_subscribed(tmp_path: Path) -> None:
    heard: list[int] = []
    with Ledger(tmp_path / "l.jsonl") as ledger:
        ledger.append("n", number=0)
        ledger.subscribe(lambda event: heard.append(event["number"]))
        ledger.append("n", number=1)
    assert heard == [1]


def test_a_listener_that_raises_does_not_silence_the_later_events(tmp_path: Path) -> None:
    heard: list[int] = []

    def breaks_once(event: Event) -> None:
        heard.append(event["number"])
        if event["number"] == 0:
            raise RuntimeError("the listener broke")

    with Ledger(tmp_path / "l.jsonl") as ledger:
        ledger.subscribe(breaks_once)
        with pytest.raises(RuntimeError, match="the listener broke"):
            ledger.append("n", number=0)
        ledger.append("n", number=1)
        ledger.append("n", number=2)
    assert [number for number in heard if number] == [1, 2]


TIME = "2026-01-01T00:00:00.000+00:00"


def _event(kind: str, elapsed_s: float, **payload: Any) -> Event:
    return {"event": kind, "time": TIME, "elapsed_s": elapsed_s, **payload}


def _epoch(epoch: int, value: float, score: float, is_best: bool, seconds: float = 2.0) -> dict[str, Any]:
    return {"epoch": epoch, "metrics": {"valid/height": value}, "score": score, "seconds": seconds, "is_best": is_best}


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
    return [{**epoch, "time": TIME} for epoch in epochs]


def test_a_ledger_folds_into_the_records_written_by_hand() -> None:
    table = TrialTable.of(EVENTS, MIN)
    assert table.trials == {
        "t0": TrialRecord(
            "t0",
            {"x": 0.0},
            7,
            state="finished",
            reason="max_epochs",
            epochs=_timed(ONE),
            best_epoch=2,
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
    assert table.trials["t0"].train_s == 5.0
    assert (table.ended, table.wall_s) == ("interrupted", 7.25)
    assert [table.count(state) for state in ("suggested", "finished", "stopped", "failed", "interrupted")] == [1] * 5
    assert table.count("finished", "stopped") == 2


def test_every_prefix_of_a_ledger_folds_into_trials() -> None:
    for length in range(len(EVENTS) + 1):
        table = TrialTable.of(EVENTS[:length], MIN)
        assert len(table.trials) == sum(event["event"] == "suggested" for event in EVENTS[:length])
        assert (table.ended is None) is (length < len(EVENTS))


def _ranked(scores: Mapping[str, tuple[int, float]], mode: Mode, failed: tuple[str, ...] = ()) -> list[str]:
    """Trials with (best epoch, score), each running; those named fail."""
    table = TrialTable(Objective("valid/height", mode))
    for trial, (epoch, score) in scores.items():
        table.apply(_event("suggested", 0.0, trial=trial, config={}, seed=0))
        table.apply(_event("reported", 1.0, trial=trial, epochs=[_epoch(epoch, score, score, True)]))
    for trial in failed:
        table.apply(_event("failed", 2.0, trial=trial, reason="broke"))
    return [trial.trial for trial in table.ranked()]


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
    table = TrialTable.of([_event("suggested", 0.0, trial="t0", config={}, seed=0)], MIN)
    assert table.ranked() == []


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
        ledger.append("n", number=0)
        ledger.extend([("n", {"number": 1}), ("n", {"number": 2})])
        ledger.extend([])
    assert synced == [str(tmp_path)] + [str(tmp_path / "l.jsonl")] * 2


def test_time_goes_on_where_the_last_process_left_it(tmp_path: Path) -> None:
    elapsed = []
    for ticks in ([100.0, 107.5], [3.0, 3.0, 5.0]):
        left = iter(ticks)
        with Ledger(tmp_path / "l.jsonl", clock=left.__next__) as ledger:
            elapsed += [ledger.append("n")["elapsed_s"] for _ in ticks[1:]]
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
    file.write_bytes(b'{"event": "n"}\n' + line + b"\n")
    with pytest.raises(LedgerDamaged, match=rf"^every line of {file} must hold an event; got {shown} on line 2 \(damaged\)$"):
        list(read_events(file))


def test_an_epoch_may_have_had_another_share_of_a_gpu_than_was_planned() -> None:
    epochs = [_epoch(1, 3.0, 3.0, True, 10.0), {**_epoch(2, 2.0, 2.5, True, 4.0), "gpus": 0.25}]
    table = TrialTable.of([*EVENTS[:3], _event("reported", 2.0, trial="t0", epochs=epochs)], MIN)
    assert table.trials["t0"].gpu_s(0.5) == 10.0 * 0.5 + 4.0 * 0.25


def test_a_search_that_resumes_has_not_ended() -> None:
    assert TrialTable.of(EVENTS, MIN).ended == "interrupted"
    assert TrialTable.of([*EVENTS, _event("search_resumed", 7.5)], MIN).ended is None


def test_a_trial_remembers_why_it_began_again() -> None:
    retries = [_event("retried", 2.0, trial="t0", reason=reason) for reason in ("WorkerDied: gone", "NodeLost: away")]
    table = TrialTable.of([*EVENTS[:3], *retries], MIN)
    assert table.trials["t0"].retries == ["WorkerDied: gone", "NodeLost: away"]
    assert table.trials["t0"].state == "running"


def test_the_first_few_are_the_best_of_those_with_a_score_that_have_not_failed() -> None:
    table = TrialTable.of(EVENTS[:1], MIN)
    for trial, score in (("a", 3.0), ("b", None), ("c", 1.0), ("d", 0.5), ("e", 2.0)):
        table.apply(_event("suggested", 1.0, trial=trial, config={}, seed=0))
        if score is not None:
            table.apply(_event("reported", 2.0, trial=trial, epochs=[_epoch(3, score, score, True)]))
    table.apply(_event("failed", 3.0, trial="d", reason="broke"))
    assert [trial.trial for trial in table.first(2, table.trials.values())] == ["c", "e"]
    assert [trial.trial for trial in table.first(9, table.trials.values())] == ["c", "e", "a"]


def test_the_front_stands_before_better_ranked_trials_when_there_are_several_objectives() -> None:
    """t1 is beaten by t0 in both; t2 ranks last by height, and nobody is as light."""
    objectives = (Objective("valid/height", "min"), Objective("valid/weight", "min"))
    table = TrialTable(objectives[0])
    for trial, height, weight in (("t0", 1.0, 5.0), ("t1", 2.0, 6.0), ("t2", 3.0, 1.0)):
        metrics = {"valid/height": height, "valid/weight": weight}
        table.apply(_event("suggested", 1.0, trial=trial, config={}, seed=0))
        table.apply(_event("reported", 2.0, trial=trial, epochs=[{**_epoch(3, height, height, True), "metrics": metrics}]))
    assert [trial.trial for trial in table.front_first(objectives)] == ["t0", "t2", "t1"]
    assert [trial.trial for trial in table.front_first(objectives[:1])] == ["t0", "t1", "t2"]
