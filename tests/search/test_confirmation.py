"""What a confirmation's runs say: means over fresh seeds, who may win, what the search had claimed. By hand."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bowl_search import PLAN

from search.analysis import confirmation
from search.analysis.confirmation import Verdict, confirm_search
from search.analysis.leaderboard import RecordedSearch
from search.analysis.uncertainty import SeedSpread, crossed, interval
from search.errors import PlanError
from search.records.folder import SearchFolder
from search.records.ledger import Ledger
from search.records.plan import Candidate, Confirmation, Plan
from search.records.trials import TrialTable
from trainables.contract import Objective

CLAIMED = {"t3": 0.9, "t8": 0.8, "t5": 0.7}


def _plan(mode: str, num_seeds: int, names: Sequence[str] = tuple(CLAIMED)) -> Plan:
    """A confirmation of these trials of `bowls`; nothing is known of cases."""
    race = Confirmation("bowls", tuple(Candidate(name, {}, 2, CLAIMED[name]) for name in names), num_seeds, 1)
    objective = Objective("valid/height", mode)
    return replace(PLAN, name="confirmed", objective=objective, confirmation=race, num_trials=len(names) * num_seeds)


def _recorded(storage: Path, plan: Plan, values: Mapping[int, float], ended: str = "all trials") -> RecordedSearch:
    """The confirmation's folder after these runs: number of the run, all candidates on a seed before the next → value."""
    folder = SearchFolder(storage, plan.name)
    folder.path.mkdir(parents=True)
    table = TrialTable(plan.objective, plan.constraints)
    with Ledger(folder.ledger_file) as ledger:
        ledger.subscribe(table.apply)
        ledger.append("search_started", name=plan.name, num_trials=plan.num_trials, code_version="")
        for number, value in values.items():
            trial = f"t{number:04d}"
            ledger.append("suggested", trial=trial, config={}, seed=number)
            ledger.append("started", trial=trial, where={}, notes=[])
            epoch = {"epoch": 2, "metrics": {"valid/height": value}, "score": value, "seconds": 1.0, "is_best": True}
            ledger.append("reported", trial=trial, epochs=[epoch])
            ledger.append("checkpointed", trial=trial, epoch=2, path=f"trials/{trial}/best-00002", sha256="")
            ledger.append("finished", trial=trial, reason="max_epochs")
        ledger.append("search_ended", reason=ended)
    return RecordedSearch(folder, plan, table)


def _confirmed(storage: Path, mode: str, *rows: Sequence[float]) -> Verdict:
    """The finding from a row of values for each seed, a column for each candidate; NaN for a run that was not made."""
    values = {number: value for number, value in enumerate(v for row in rows for v in row) if not math.isnan(value)}
    return confirm_search(_recorded(storage, _plan(mode, len(rows)), values), storage)


def test_the_best_mean_over_fresh_seeds_wins_in_either_direction(tmp_path: Path) -> None:
    rows = ([0.5, 0.8, 0.2], [0.7, 0.6, 0.4])
    most, least = _confirmed(tmp_path / "most", "max", *rows), _confirmed(tmp_path / "least", "min", *rows)
    assert (most.winner, least.winner) == ("t8", "t5")
    assert [(s.trial, s.values, s.mean) for s in most.standings] == [
        ("t8", (0.8, 0.6), pytest.approx(0.7)),
        ("t3", (0.5, 0.7), pytest.approx(0.6)),
        ("t5", (0.2, 0.4), pytest.approx(0.3)),
    ]
    assert [s.trial for s in least.standings] == ["t5", "t3", "t8"]


def test_differences_to_the_winner_are_paired_and_more_is_better(tmp_path: Path) -> None:
    """On the first seed t3 is .3 worse than t8, on the second .1 better; a height that is to be low turns the signs round."""
    found = {s.trial: s.difference for s in _confirmed(tmp_path, "max", [0.5, 0.8, 0.2], [0.7, 0.6, 0.4]).standings}
    assert found == {"t8": None, "t3": pytest.approx(-0.1), "t5": pytest.approx(-0.4)}
    low = {s.trial: s.difference for s in _confirmed(tmp_path / "low", "min", [0.5, 0.8, 0.2], [0.7, 0.6, 0.4]).standings}
    assert low == {"t5": None, "t3": pytest.approx(-0.3), "t8": pytest.approx(-0.4)}


@pytest.mark.parametrize(("mode", "curse"), [("max", 0.3), ("min", -0.3)])
def test_the_curse_is_how_much_worse_the_searchs_best_did_than_claimed(tmp_path: Path, mode: str, curse: float) -> None:
    found = _confirmed(tmp_path, mode, [0.5, 0.8, 0.2], [0.7, 0.6, 0.4])
    assert found.claimed_best == "t3"
    assert found.curse == pytest.approx(curse), "claimed 0.9, did 0.6"


def test_only_a_configuration_that_ran_on_every_seed_can_win(tmp_path: Path) -> None:
    """t3 has the best mean, of one lucky run; the race took it out or its second run failed."""
    found = _confirmed(tmp_path, "max", [0.95, 0.8, 0.2], [math.nan, 0.6, 0.4])
    assert found.winner == "t8"
    assert next(s for s in found.standings if s.trial == "t3").difference == pytest.approx(0.15), "over the seed that both ran on"


def test_the_winners_checkpoint_is_that_of_its_median_run(tmp_path: Path) -> None:
    found = _confirmed(tmp_path, "max", [0.1, 0.8, 0.2], [0.1, 0.6, 0.4], [0.1, 0.9, 0.4])
    assert (found.winner, found.winner_run) == ("t8", "t0001"), "0.6, 0.8, 0.9: run 1 is the first seed's"
    assert found.checkpoint == str(tmp_path / "confirmed" / "trials" / "t0001" / "best-00002")
    assert found.test_note.endswith("has no data, so there is no test split to read.")


def test_intervals_of_differences_hold_together_for_all_rivals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without cases an interval is that of the seeds: √2 of one run's spread, at 5 % over the number of rivals."""
    monkeypatch.setattr(confirmation, "RESAMPLES", 4000)
    rows = ([0.5, 0.8, 0.2], [0.7, 0.6, 0.4], [0.6, 0.75, 0.3])
    found = {s.trial: s.difference_interval for s in _confirmed(tmp_path, "max", *rows).standings}
    values = {candidate: {block: row[candidate] for block, row in enumerate(rows)} for candidate in range(3)}
    residuals, freedom = crossed(values, [0, 1, 2])
    spread = SeedSpread([math.sqrt(2) * r for r in residuals], freedom, np.random.default_rng(5))
    for candidate, trial in enumerate(CLAIMED):
        if trial != "t8":
            centre = float(np.mean([row[candidate] - row[1] for row in rows]))
            low, high = interval(centre, np.zeros(4000), spread, 3, error=0.05 / 2)
            assert found[trial] == (pytest.approx(low, abs=0.1 * (high - low)), pytest.approx(high, abs=0.1 * (high - low)))
    assert found["t8"] is None


def test_a_confirmation_that_has_not_ended_says_how_to_go_on(tmp_path: Path) -> None:
    recorded = _recorded(tmp_path, _plan("max", 2), {0: 0.5, 1: 0.8, 2: 0.2}, ended="interrupted")
    expected = r"^confirmed must have ended to be reported; got interrupted \(dermtune resume confirmed\)$"
    with pytest.raises(PlanError, match=expected):
        confirm_search(recorded, tmp_path)


def test_a_search_is_no_confirmation(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"^NAME must be a confirmation; got the search bowls$"):
        confirm_search(RecordedSearch(SearchFolder(tmp_path, "bowls"), PLAN, TrialTable(PLAN.objective)), tmp_path)


def test_a_finding_comes_back_from_its_json(tmp_path: Path) -> None:
    found = _confirmed(tmp_path, "max", [0.5, 0.8, 0.2], [0.7, 0.6, 0.4])
    document = found.to_json()
    assert Verdict.from_json(document).to_json() == document
