"""What a confirmation's runs say: means over fresh seeds, who may win, what the search had claimed. By hand."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bowl_events import epoch_result, event_of
from bowl_search import PLAN
from scipy import stats

from search.analysis.confirmation import confirm_search, error_of
from search.analysis.leaderboard import RecordedSearch
from search.analysis.uncertainty import SeedRuns, difference_intervals, mean_intervals
from search.analysis.verdict import Standing, Verdict, against_claim, read_verdict
from search.errors import PlanError
from search.records.folder import SearchFolder
from search.records.ledger import Ledger
from search.records.plan import Candidate, Confirmation, Plan
from search.records.state import SearchState
from search.strategy.confirmation_controller import looks, planned_runs
from trainables.contract import Objective
from trainables.metric_ranges import Range

CLAIMED = {"t3": 0.9, "t8": 0.8, "t5": 0.7}


def _plan(mode: str, num_seeds: int, names: Sequence[str] = tuple(CLAIMED)) -> Plan:
    """A confirmation of these trials of `bowls`; nothing is known of cases."""
    confirmation = Confirmation("bowls", tuple(Candidate(name, {}, 2, CLAIMED[name]) for name in names), num_seeds, 1)
    objective = Objective("valid/height", mode)
    return replace(PLAN, name="confirmed", objective=objective, confirmation=confirmation, num_trials=len(names) * num_seeds)


def _recorded(
    storage: Path, plan: Plan, values: Mapping[int, float], ended: str = "all trials", out: Mapping[str, str] | None = None
) -> RecordedSearch:
    """The confirmation's folder after these runs: number of the run, all candidates on a seed before the next → value."""
    folder = SearchFolder(storage, plan.name)
    folder.path.mkdir(parents=True)
    state = SearchState(plan.objective, plan.constraints)
    with Ledger(folder.ledger_file) as ledger:
        ledger.subscribe(state.apply)
        ledger.append(event_of("search_started", name=plan.name, num_trials=plan.num_trials, code_version=""))
        for number, value in values.items():
            trial = planned_runs(plan)[number].trial
            ledger.append(event_of("suggested", trial=trial, config={}, seed=number))
            ledger.append(event_of("started", trial=trial, where={}, notes=[]))
            epoch = epoch_result(epoch=2, metrics={"valid/height": value}, score=value, seconds=1.0, is_best=True)
            ledger.append(event_of("reported", trial=trial, epochs=[epoch]))
            ledger.append(event_of("checkpointed", trial=trial, epoch=2, path=f"trials/{trial}/best-00002", sha256=""))
            ledger.append(event_of("finished", trial=trial, reason="max_epochs"))
        for candidate, reason in (out or {}).items():
            ledger.append(event_of("out_of_race", candidate=candidate, reason=reason))
        ledger.append(event_of("search_ended", reason=ended))
    return RecordedSearch(folder, plan, state)


def _confirmed(storage: Path, mode: str, *rows: Sequence[float], out: Mapping[str, str] | None = None) -> Verdict:
    """The finding from a row of values for each seed, a column for each candidate; NaN for a run that was not made."""
    values = {number: value for number, value in enumerate(v for row in rows for v in row) if not math.isnan(value)}
    return confirm_search(_recorded(storage, _plan(mode, len(rows)), values, out=out), storage)


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
    """t3 has the best mean, of one lucky run; its second failed."""
    found = _confirmed(tmp_path, "max", [0.95, 0.8, 0.2], [math.nan, 0.6, 0.4])
    assert found.winner == "t8"
    assert next(s for s in found.standings if s.trial == "t3").difference == pytest.approx(0.25), "0.95 against 0.8 and 0.6"


def test_the_winners_checkpoint_is_that_of_its_median_run(tmp_path: Path) -> None:
    found = _confirmed(tmp_path, "max", [0.1, 0.8, 0.2], [0.1, 0.6, 0.4], [0.1, 0.9, 0.4])
    assert (found.winner, found.winner_run) == ("t8", f"t8-seed{PLAN.seed}"), "0.6, 0.8, 0.9: the first seed's"
    assert found.checkpoint == str(tmp_path / "confirmed" / "trials" / f"t8-seed{PLAN.seed}" / "best-00002")
    for mode, run in (("max", 0), ("min", 1)):
        (tmp_path / mode).mkdir()
        of_two = _confirmed(tmp_path / mode, mode, [0.5, 0.5, 0.5], [0.6, 0.6, 0.6])
        assert str(of_two.winner_run).endswith(f"seed{PLAN.seed + run}"), "of two runs never the luckier one"
    assert found.test_note.endswith("has no data, so there is no test split to read.")


def test_a_confirmation_of_an_earlier_version_says_to_confirm_again(tmp_path: Path) -> None:
    """Its runs were called like trials of the search, and its report had other fields."""
    old = _recorded(tmp_path, _plan("max", 2), {0: 0.5, 1: 0.8})
    old.state.trials["t0000"] = replace(old.state.trials.pop(f"t3-seed{PLAN.seed}"), trial="t0000")
    with pytest.raises(PlanError, match=r"with the run 't0000', which an earlier version has named \(dermtune confirm bowls"):
        confirm_search(old, tmp_path)
    assert read_verdict(tmp_path) is None
    earlier = '{"search": "bowls", "standings": [{"trial": "t0003", "p_value": 0.1}]}'
    for text in (earlier, earlier[:20]):  # the second is cut short
        (tmp_path / "confirmation.json").write_text(text)
        with pytest.raises(
            PlanError, match=r"must be whole and of this version of dermtune; got .*confirmation\.json, which is not"
        ):
            read_verdict(tmp_path)


@pytest.mark.parametrize(("curse", "said"), [(0.01234, "0.0123 worse"), (-0.2, "0.2000 better"), (0.00004, "as in the search")])
def test_what_came_of_a_claim_in_words(curse: float, said: str) -> None:
    assert against_claim(curse) == said


ROWS = ([0.5, 0.8, 0.2], [0.7, 0.6, 0.4], [0.6, 0.75, 0.3])


@pytest.mark.parametrize("mode", ["max", "min"])
def test_every_interval_is_that_of_the_seeds_where_no_case_enters(tmp_path: Path, mode: str) -> None:
    """They are `search.analysis.uncertainty`'s, of all configurations together; more is better in a difference."""
    found = {s.trial: s for s in _confirmed(tmp_path, mode, *ROWS).standings}
    runs = [SeedRuns(np.array(values)[:, None], [np.zeros((3, 0))]) for values in zip(*ROWS, strict=True)]
    winner = 1 if mode == "max" else 2
    gaps = difference_intervals(runs, winner, Range())
    for candidate, (trial, interval) in enumerate(zip(CLAIMED, mean_intervals(runs, Range()), strict=True)):
        assert found[trial].interval == pytest.approx(interval)
        gap = gaps[candidate]
        if gap is None:
            assert candidate == winner
            assert found[trial].difference_interval is None
        else:
            assert found[trial].difference_interval == pytest.approx(gap if mode == "max" else (-gap[1], -gap[0]))


def test_two_seeds_are_no_grounds_for_a_verdict(tmp_path: Path) -> None:
    """However far apart they are. A real confirmation of this kind called one better beside an interval that held 0."""
    found = _confirmed(tmp_path, "max", [0.5, 0.9, 0.2], [0.5, 0.9, 0.2])
    assert [(s.interval, s.difference_interval) for s in found.standings] == [(None, None)] * 3
    assert found.sentence == (
        "t8 has the best mean, but 2 seeds cannot say whether it is better than the others: take three or more (dermtune confirm"
        " bowls --seeds 3)."
    )
    assert found.tied == []


def test_being_dropped_is_no_finding(tmp_path: Path) -> None:
    """t3 was dropped after three of five seeds; whether it is worse follows from its interval, as for the others."""
    nan, why = math.nan, "dropped after 3 of 5 seeds to save time, which is no finding"
    rows = ([0.5, 0.61, 0.2], [0.7, 0.75, 0.21], [0.6, 0.62, 0.22], [nan, 0.63, 0.2], [nan, 0.66, 0.2])
    found = _confirmed(tmp_path, "max", *rows, out={"t3": why})
    assert {s.trial: (s.finding, s.out) for s in found.standings} == {
        "t8": ("winner", None),
        "t5": ("worse", None),
        "t3": ("tied", why),
    }
    assert found.sentence == "t8 has the best mean. It is better than t5. t3 cannot be told from it."
    clear = ([0.1, 0.61, 0.2], [0.1, 0.75, 0.21], [0.11, 0.62, 0.22], [nan, 0.63, 0.2], [nan, 0.66, 0.2])
    worse = _confirmed(tmp_path / "clear", "max", *clear, out={"t3": why})
    assert worse.sentence == "t8 is better than t5 and t3."
    assert worse.num_looks == 1


def test_what_failed_is_not_compared(tmp_path: Path) -> None:
    nan = math.nan
    rows = ([0.5, 0.8, 0.2], [0.5, 0.81, 0.2], [0.5, 0.8, 0.21], [nan, 0.8, 0.2])
    found = _confirmed(tmp_path, "max", *rows, out={"t3": "failed on seed 103: broke"})
    failed = next(s for s in found.standings if s.trial == "t3")
    assert (failed.mean, failed.interval, failed.difference_interval, failed.finding) == (0.5, None, None, "not compared")
    assert found.sentence == "t8 has the best mean. It is better than t5. t3 could not be compared."


def _verdict(*findings: str) -> Verdict:
    """Configurations t0 (the winner), t1, ... of which this is known."""
    gaps = {"worse": (-0.2, -0.1), "tied": (-0.2, 0.1), "better": (0.1, 0.2), "not compared": None}
    rivals = [
        Standing(f"t{number}", 2, 0.5, (0.5,) * 3, 0.5, None, 0.0, gaps[finding], None)
        for number, finding in enumerate(findings, start=1)
    ]
    winner = Standing("t0", 2, 0.5, (0.5,) * 3, 0.5, (0.4, 0.6), None, None, None)
    return Verdict("mine", "mine-confirm", "bowl", "valid/height", "max", None, 3, 1, (winner, *rivals), "t0", "t0", 0.0)


@pytest.mark.parametrize(
    ("findings", "sentence"),
    [
        (["worse"], "t0 is better than t1."),
        (["worse", "worse", "worse"], "t0 is better than t1, t2 and t3."),
        (
            ["tied"],
            "No configuration is better than another: t0 has the best mean, and the interval of its difference to t1 contains 0.",
        ),
        (
            ["tied", "tied"],
            "No configuration is better than another: t0 has the best mean, and the interval of each difference to t1 and t2"
            " contains 0.",
        ),
        (["tied", "worse"], "t0 has the best mean. It is better than t2. t1 cannot be told from it."),
        (
            ["not compared"],
            "t0 has the best mean. t1 cannot be compared: every seed gave the same, which leaves no interval.",
        ),
        (["better"], "t0 has the best mean. t1 did better on the seeds that it ran on, but did not run on all."),
    ],
)
def test_a_verdict_reads_as_a_person_writes(findings: list[str], sentence: str) -> None:
    assert _verdict(*findings).sentence == sentence


def test_the_look_half_way_is_paid_for() -> None:
    assert [error_of(num_seeds) for num_seeds in (2, 3, 4, 10)] == [0.05, 0.05, 0.04, 0.04]


@pytest.mark.parametrize("of_cases", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("num_seeds", [4, 6, 10])
def test_at_most_one_equal_in_twenty_is_called_worse_whenever_it_is_read(num_seeds: int, of_cases: float) -> None:
    """Two equal configurations, 20,000 times, written out: dropped half-way by the seeds, read by Welch's interval and the cases.

    Args:    of_cases: deviation that the cases give a mean, in deviations of one seed; where it is a third is the worst.
    """
    half, count = looks(num_seeds)[0], 20_000
    generator = np.random.default_rng(num_seeds)
    values = generator.normal(size=(count, 2, num_seeds)) + of_cases * generator.normal(size=(count, 2, 1))
    gaps = values[:, 0, :half] - values[:, 1, :half]
    dropped = np.abs(gaps.mean(1)) > stats.t.ppf(0.95, half - 1) * gaps.std(1, ddof=1) / math.sqrt(half)
    ahead = np.where((gaps.mean(1) > 0)[:, None], values[:, 0], values[:, 1])
    behind = np.where((gaps.mean(1) > 0)[:, None], values[:, 1], values[:, 0])
    error, called = error_of(num_seeds), np.zeros(count, dtype=bool)
    for which, runs in ((dropped, half), (~dropped, num_seeds)):
        parts = ahead.var(1, ddof=1) / num_seeds, behind[:, :runs].var(1, ddof=1) / runs
        variance = parts[0] + parts[1] + 2 * of_cases**2
        freedom = variance**2 / (parts[0] ** 2 / (num_seeds - 1) + parts[1] ** 2 / (runs - 1))
        reach = stats.t.ppf(1 - error / 2, freedom) * np.sqrt(variance)
        called |= which & (np.abs(ahead.mean(1) - behind[:, :runs].mean(1)) > reach)
    assert 0.03 < called.mean() < 0.053, "5 % and two deviations of the simulation"


def test_a_confirmation_that_has_not_ended_says_how_to_go_on(tmp_path: Path) -> None:
    recorded = _recorded(tmp_path, _plan("max", 2), {0: 0.5, 1: 0.8, 2: 0.2}, ended="interrupted")
    expected = r"^confirmed must have ended to be reported; got interrupted \(dermtune resume confirmed\)$"
    with pytest.raises(PlanError, match=expected):
        confirm_search(recorded, tmp_path)


def test_a_search_is_no_confirmation(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"^NAME must be a confirmation; got the search bowls$"):
        confirm_search(RecordedSearch(SearchFolder(tmp_path, "bowls"), PLAN, SearchState(PLAN.objective)), tmp_path)


def test_a_finding_comes_back_from_its_json(tmp_path: Path) -> None:
    found = _confirmed(tmp_path, "max", [0.5, 0.8, 0.2], [0.7, 0.6, 0.4])
    document = found.to_json()
    assert Verdict.from_json(document).to_json() == document
