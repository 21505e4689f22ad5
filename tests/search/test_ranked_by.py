"""What ranks the runs of a confirmation is what its verdict is about: the metric at the epoch, wherever runs are listed."""

from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from bowl_events import epoch_of, event_of, lines_of, plan_of
from rich.console import Console

from search.analysis.leaderboard import best_rows, open_search
from search.analysis.report import report_page
from search.cli.live import SearchView
from search.cli.main import run
from search.records.description import search_page
from search.records.folder import SearchFolder
from search.records.ledger import read_events
from search.records.plan import Candidate, Confirmation, Plan
from search.records.state import SearchState
from spaces.bowl import BowlSpace
from spaces.fields import complete

LUCKY, STEADY = "t0-seed7", "t1-seed7"  # the least height, and the least mean of heights


def _confirmation() -> Plan:
    config = complete(BowlSpace, {})
    confirmation = Confirmation("bowls", (Candidate("t0", config, 3, 1.0), Candidate("t1", config, 3, 1.0)), 2, 1)
    return replace(plan_of(name="bowls-confirm", num_trials=4, max_epochs=3), confirmation=confirmation)


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """The first seed of a confirmation: t0 ends lower, and t1 was lower in the mean."""
    folder, plan = SearchFolder(tmp_path, "bowls-confirm"), _confirmation()
    folder.create(plan).release()
    events = [event_of("search_started", 0.0)]
    for trial, heights, score in ((LUCKY, (9.0, 8.0, 1.25), 6.0), (STEADY, (2.0, 2.0, 3.5), 2.5)):
        epochs = [epoch_of(number, height, score, number == 3) for number, height in enumerate(heights, start=1)]
        events += [event_of("suggested", 1.0, trial=trial, config=complete(BowlSpace, {}), seed=7)]
        events += [
            event_of("reported", 2.0, trial=trial, epochs=epochs),
            event_of("finished", 3.0, trial=trial, reason="max_epochs"),
        ]
        kept = {"epoch": 3, "path": f"trials/{trial}/best-00003", "sha256": ""}
        events += [event_of("checkpointed", 3.0, trial=trial, **kept)]
        folder.trial(trial).joinpath("best-00003").mkdir(parents=True)
    folder.ledger_file.write_text(lines_of([*events, event_of("search_ended", 4.0, reason="x")]))
    return tmp_path


def _in_order(lines: Sequence[str]) -> list[str]:
    return [trial for line in lines for trial in (LUCKY, STEADY) if trial in line]


def test_the_leaderboard_ranks_by_the_value_and_says_so(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It ranked by a column at the right, beside one called "score" that was out of order."""
    assert run(["show", "bowls-confirm", "--storage", str(storage)]) == 0
    shown = capsys.readouterr().out
    assert "bowls-confirm (finished): valid/height (min); runs by value" in " ".join(shown.split())
    assert _in_order(shown.splitlines()) == [LUCKY, STEADY]
    assert "1.2500" in shown
    assert "score" not in shown
    assert "6.0000" not in shown
    assert run(["show", "bowls-confirm", LUCKY, "--storage", str(storage)]) == 0
    one = capsys.readouterr().out
    assert "value 1.2500; the checkpoint is of epoch 3" in one
    assert "score" not in one


def test_the_best_run_is_the_first_of_the_leaderboard(storage: Path) -> None:
    assert [row["trial"] for row in best_rows(open_search(storage, "bowls-confirm"), 2)] == [LUCKY, STEADY]


def test_the_report_ranks_alike_and_names_no_score(storage: Path) -> None:
    page = report_page(open_search(storage, "bowls-confirm"), {}, {})
    board = page[page.index("Leaderboard") :]
    assert board.index(LUCKY) < board.index(STEADY)
    assert "Runs are ranked by valid/height at the epoch of their checkpoints" in board
    assert "score" not in board


def test_the_page_in_mlflow_calls_no_run_the_best(storage: Path) -> None:
    """The best of several runs of one configuration is the luckiest."""
    found = open_search(storage, "bowls-confirm")
    assert "Best" not in search_page(found.state, found.plan, [])
    assert "Best: **" in search_page(found.state, plan_of(), []), "of a search"


def test_a_confirmation_underway_shows_values(storage: Path) -> None:
    found, text = open_search(storage, "bowls-confirm"), StringIO()
    console = Console(file=text, force_terminal=False, width=200)
    state = SearchState.of([], found.plan.objective)
    view = SearchView(found.plan, state, console)
    for event in read_events(found.folder.ledger_file):
        state.apply(event)
        view.on_event(event)
    assert f"{LUCKY} finished (max_epochs): value 1.2500 at epoch 3" in text.getvalue()
    console.print(view._render())
    grid = text.getvalue()[text.getvalue().index("│") :]
    assert _in_order(grid.splitlines()) == [LUCKY, STEADY]
    assert "score" not in text.getvalue()
