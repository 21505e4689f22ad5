"""What a search shows while it runs: plain lines without a terminal, a table on one."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from search.cli.live import SearchView
from search.cli.options import duration_text, number
from search.records.ledger import Ledger
from search.records.plan import Plan
from search.records.trials import TrialTable
from trainables.contract import Objective

PLAN = Plan("mine", "bowl", None, "demo", {}, Objective("valid/height", "min"), num_trials=4, max_epochs=9)


def epoch(number: int, score: float) -> dict[str, Any]:
    """One validated epoch, the best so far."""
    return {"epoch": number, "metrics": {"valid/height": score}, "score": score, "seconds": 1.0, "is_best": True}


def followed(tmp_path: Path, terminal: bool) -> tuple[Ledger, StringIO, SearchView]:
    """A ledger with a table and a view that follow it."""
    ledger, table, text = Ledger(tmp_path / "ledger.jsonl"), TrialTable(PLAN.objective), StringIO()
    view = SearchView(PLAN, table, Console(file=text, force_terminal=terminal, width=200))
    ledger.subscribe(table.apply)
    ledger.subscribe(view.on_event)
    ledger.append("search_started", name="mine")
    for trial, score in (("t0000", 0.5), ("t0001", 0.25)):
        ledger.append("suggested", trial=trial, config={}, seed=0)
        ledger.append("started", trial=trial, where={}, notes=[])
        ledger.append("reported", trial=trial, epochs=[epoch(1, score), epoch(2, score), epoch(3, score)])
    ledger.append("stopped", trial="t0000", reason="rung 3")
    return ledger, text, view


def test_without_a_terminal_each_ended_trial_is_one_line(tmp_path: Path) -> None:
    ledger, text, _ = followed(tmp_path, terminal=False)
    ledger.append("noted", text="sampler gp draws at random: tilt")
    ledger.append("failed", trial="t0001", reason="RuntimeError: broke")
    ledger.append("search_ended", reason="all trials")
    ledger.close()
    first, note, second = text.getvalue().splitlines()
    assert first.startswith("t0000 stopped (rung 3): score 0.5000 at epoch 3, 3 s | 1 of 4 done, 1 stopped early, 0 failed,")
    assert "best 0.2500 (t0001, epoch 3) | about" in first
    assert note == "sampler gp draws at random: tilt"
    assert second.startswith("t0001 failed (RuntimeError: broke)")
    assert "2 of 4 done, 1 stopped early, 1 failed, 0 running" in second


def test_on_a_terminal_there_is_a_table_of_running_and_ended_trials(tmp_path: Path) -> None:
    ledger, text, view = followed(tmp_path, terminal=True)
    console = Console(file=StringIO(), width=200)
    console.print(view._render())
    table = console.file.getvalue()  # type: ignore[attr-defined]
    view.close()
    ledger.close()
    for expected in ("mine: valid/height (min)", "t0001", "running", "3/9", "stopped: rung 3", "1 of 4 done"):
        assert expected in table
    assert "t0000 stopped (rung 3)" not in text.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (7800, "2 h 10 min")]
)
def test_durations_read_like_words(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_missing_number_is_a_dash() -> None:
    assert (number(None), number(0.123456)) == ("–", "0.1235")


def test_how_many_trials_train_as_one_program_is_said_when_it_changes(tmp_path: Path) -> None:
    ledger, text, _ = followed(tmp_path, terminal=False)
    ledger.append("fused", shape=[], num_trials=2, settled=False)
    ledger.append("fused", shape=[], num_trials=4, settled=True)
    ledger.append("fused", shape=[], num_trials=1, settled=True)
    ledger.close()
    assert text.getvalue().splitlines()[-3:] == [
        "2 trials of a shape train as one program, next, to see whether that pays",
        "4 trials of a shape train as one program, as measured",
        "trials of a shape train alone, as measured",
    ]
