"""What a search shows while it runs: plain lines without a terminal, a table on one."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from bowl_events import epoch_result, event_of
from rich.console import Console

from search.analysis.leaderboard import RecordedSearch, _search_row, trial_rows
from search.cli.live import SearchView
from search.cli.options import duration_text, number, span_text
from search.records.events import EpochResult
from search.records.folder import SearchFolder
from search.records.ledger import Ledger
from search.records.plan import Candidate, Confirmation, Experiment, Plan, Reproduction
from search.records.state import SearchState
from trainables.contract import Objective

PLAN = Plan("mine", "bowl", None, "demo", {}, Objective("valid/height", "min"), num_trials=4, max_epochs=9)


def epoch(number: int, score: float) -> EpochResult:
    """One validated epoch, the best so far."""
    return epoch_result(epoch=number, metrics={"valid/height": score}, score=score, seconds=1.0, is_best=True)


def followed(tmp_path: Path, terminal: bool, plan: Plan = PLAN) -> tuple[Ledger, StringIO, SearchView]:
    """A ledger with a table and a view that follow it."""
    ledger, state, text = Ledger(tmp_path / "ledger.jsonl"), SearchState(plan.objective), StringIO()
    view = SearchView(plan, state, Console(file=text, force_terminal=terminal, width=400))
    ledger.subscribe(state.apply)
    ledger.subscribe(view.on_event)
    ledger.append(event_of("search_started", name="mine"))
    for trial, score in (("t0000", 0.5), ("t0001", 0.25)):
        ledger.append(event_of("suggested", trial=trial, config={}, seed=0))
        ledger.append(event_of("started", trial=trial, where={}, notes=[]))
        ledger.append(event_of("reported", trial=trial, epochs=[epoch(1, score), epoch(2, score), epoch(3, score)]))
    ledger.append(event_of("stopped", trial="t0000", reason="rung 3"))
    return ledger, text, view


def test_without_a_terminal_each_ended_trial_is_one_line(tmp_path: Path) -> None:
    ledger, text, _ = followed(tmp_path, terminal=False)
    ledger.append(event_of("noted", text="sampler gp draws at random: tilt"))
    ledger.append(event_of("failed", trial="t0001", reason="RuntimeError: broke"))
    ledger.append(event_of("search_ended", reason="all trials"))
    ledger.close()
    first, note, second = text.getvalue().splitlines()
    assert first.startswith("t0000 stopped (rung 3): score 0.5000, checkpoint of epoch 3, 3 s | 1 of 4 done, 1 stopped early,")
    assert "best score 0.2500 (t0001, checkpoint of epoch 3) | about 5 to 2" in first
    assert note == "sampler gp draws at random: tilt"
    assert second.startswith("t0001 failed (RuntimeError: broke)")
    assert "2 of 4 done, 1 stopped early, 1 failed, 0 running" in second


def test_of_a_reproduction_the_best_is_the_best_value_and_is_called_that(tmp_path: Path) -> None:
    """It announced the best score, "best .5146", beside trials of .5314: its epochs are chosen by the loss, not by scores."""
    plan = replace(PLAN, reproduction=Reproduction((Experiment("standard", {}),), 4), objective=Objective("valid/height", "max"))
    ledger, state, text = Ledger(tmp_path / "ledger.jsonl"), SearchState(plan.objective), StringIO()
    ledger.subscribe(state.apply)
    ledger.subscribe(SearchView(plan, state, Console(file=text, width=400)).on_event)
    for trial, value, score in (("t0000", 0.5, 0.5146), ("t0001", 0.5314, 0.4)):
        ledger.append(event_of("suggested", trial=trial, config={}, seed=0))
        ledger.append(event_of("reported", trial=trial, epochs=[replace(epoch(1, score), metrics={"valid/height": value})]))
        ledger.append(event_of("finished", trial=trial, reason="patience"))
    ledger.close()
    assert "| best value 0.5314 (t0001, epoch 1) |" in text.getvalue().splitlines()[-1]
    found = RecordedSearch(SearchFolder(tmp_path, "mine"), plan, state)
    assert [row["trial"] for row in trial_rows(found)] == ["t0001", "t0000"]
    assert _search_row(found)["best_value"] == 0.5314
    searched = RecordedSearch(found.folder, replace(plan, reproduction=None), state)
    assert _search_row(searched)["best_value"] == 0.5, "the value of the best by score"


def test_a_confirmations_lines_tell_runs_from_configurations_and_call_no_run_the_best(tmp_path: Path) -> None:
    confirmation = Confirmation(
        "mine", (Candidate("t0000", {}, 3, 0.5), Candidate("t0004", {}, 3, 0.5)), num_seeds=2, num_folds=1
    )
    ledger, text, view = followed(tmp_path, terminal=False, plan=replace(PLAN, confirmation=confirmation))
    ledger.append(event_of("out_of_race", candidate="t0004", reason="failed on seed 7: RuntimeError: broke"))
    console = Console(file=StringIO(), width=200)
    console.print(view._render())
    ledger.close()
    first, second = text.getvalue().splitlines()
    assert "1 of 4 runs done" in first
    assert second == "configuration t0004: failed on seed 7: RuntimeError: broke; no further run of it begins"
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert " run " in shown
    assert "best 0." not in first + shown


def test_on_a_terminal_there_is_a_table_of_running_and_ended_trials(tmp_path: Path) -> None:
    ledger, text, view = followed(tmp_path, terminal=True)
    console = Console(file=StringIO(), width=200)
    console.print(view._render())
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    view.close()
    ledger.close()
    for expected in ("mine: valid/height (min)", "t0001", "running", "3/9", "stopped: rung 3", "1 of 4 done"):
        assert expected in shown
    assert "t0000 stopped (rung 3)" not in text.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (7800, "2 h 10 min")]
)
def test_durations_read_like_words(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("low_s", "high_s", "text"),
    [
        (0, 0, "a few seconds"),
        (0.2, 6, "a few seconds"),
        (1, 22, "up to 20 s"),
        (18, 44, "about 20 to 45 s"),
        (98, 99, "about 100 s"),
        (40, 130, "about 1 to 2 min"),
        (120, 290, "about 2 to 5 min"),
        (10, 290, "up to 5 min"),
        (170, 190, "about 3 min"),
        (5400, 10000, "about 1.5 to 3 h"),
        (40_000, 90_000, "about 11 to 25 h"),
        (3 * 86400, 5 * 86400, "about 3 to 5 days"),
    ],
)
def test_a_duration_that_is_not_known_is_told_as_a_range(low_s: float, high_s: float, text: str) -> None:
    assert span_text(low_s, high_s) == text


def test_a_missing_number_is_a_dash() -> None:
    assert (number(None), number(0.123456), number(-0.00001), number(-0.5)) == ("–", "0.1235", "0.0000", "-0.5000")


def test_how_many_trials_train_as_one_program_is_said_when_it_changes(tmp_path: Path) -> None:
    ledger, text, _ = followed(tmp_path, terminal=False)
    ledger.append(event_of("fused", shape=[], num_trials=2, settled=False))
    ledger.append(event_of("fused", shape=[], num_trials=4, settled=True))
    ledger.append(event_of("fused", shape=[], num_trials=1, settled=True))
    ledger.close()
    assert text.getvalue().splitlines()[-3:] == [
        "2 trials of a shape train as one program, next, to see whether that pays",
        "4 trials of a shape train as one program, as measured",
        "trials of a shape train alone, as measured",
    ]


def test_the_third_failure_for_one_reason_is_said_at_once_and_once(tmp_path: Path) -> None:
    ledger, text, _ = followed(tmp_path, terminal=False)
    for byte in range(2, 7):
        ledger.append(event_of("suggested", trial=f"t{byte:04d}", config={}, seed=0))
        ledger.append(event_of("failed", trial=f"t{byte:04d}", reason=f"RuntimeError: out of memory at byte {byte}"))
        warned = text.getvalue().count("warning: 3 trials have failed for the same reason: RuntimeError: out of memory at byte 4")
        assert warned == (byte >= 4)
    ledger.close()


def test_equals_are_not_announced_as_best(tmp_path: Path) -> None:
    ledger, text, _ = followed(tmp_path, terminal=False)
    for trial in ("t0002", "t0003"):
        ledger.append(event_of("suggested", trial=trial, config={}, seed=0))
        ledger.append(event_of("reported", trial=trial, epochs=[epoch(1, 0.25), epoch(2, 0.25), epoch(3, 0.25)]))
        ledger.append(event_of("finished", trial=trial, reason="max_epochs"))
    ledger.close()
    assert "best score 0.2500 (t0001 and 2 others)" in text.getvalue().splitlines()[-1]
    (tmp_path / "constant").mkdir()
    ledger, text, _ = followed(tmp_path / "constant", terminal=False)
    ledger.append(event_of("reported", trial="t0000", epochs=[epoch(4, 0.25)]))
    ledger.append(event_of("finished", trial="t0001", reason="max_epochs"))
    ledger.close()
    assert "score 0.2500 in all trials so far: nothing distinguishes them" in text.getvalue().splitlines()[-1]


@pytest.mark.parametrize("width", [40, 80])
def test_the_table_on_a_narrow_terminal_keeps_its_numbers(width: int, tmp_path: Path) -> None:
    ledger, _, view = followed(tmp_path, terminal=True)
    console = Console(file=StringIO(), width=width)
    view._console.width = width
    console.print(view._render())
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    view.close()
    ledger.close()
    for expected in ("t0001", "0.2500", "0.5000", "3/9"):
        assert expected in shown
