"""Where a verdict is told, nothing is called the winner or better unless its interval says so."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from bowl_events import event_of, plan_of

from search.analysis.confirmation_report import write_report
from search.analysis.leaderboard import RecordedSearch
from search.analysis.report import report_page
from search.analysis.verdict import Finding, Standing, Verdict, read_verdict
from search.cli.tables import show_confirmation
from search.records.folder import SearchFolder
from search.records.ledger import Ledger
from search.records.plan import Confirmation
from search.records.standing import Baseline
from search.records.state import SearchState
from search.records.trials import TrialRecord
from spaces.bowl import BowlSpace
from spaces.fields import complete

GAPS: dict[Finding, tuple[float, float] | None] = {"worse": (-0.2, -0.1), "tied": (-0.2, 0.1), "not compared": None}


def verdict_of(findings: Sequence[Finding], mode: str = "max", **changes: object) -> Verdict:
    """t0 leads, and of t1, t2, ... this is known."""
    leader = Standing("t0", 2, 0.5, (0.5,) * 3, 0.5, (0.4, 0.6), None, None, None)
    rivals = [
        Standing(f"t{number}", 2, 0.5, (0.45,) * 3, 0.45, (0.3, 0.5), -0.05, GAPS[finding], None)
        for number, finding in enumerate(findings, start=1)
    ]
    known = {"winner_metrics": {"valid/height": (0.5, (0.4, 0.6))}, "test_metrics": {"test/height": (0.4, (0.3, 0.5))}}
    known |= {"checkpoint": "here", "winner_run": "t0-seed7", "test_note": "Reading 1.", **changes}
    standings = (leader, *rivals)
    return Verdict("bowls", "bowls-confirm", "bowl", "valid/height", mode, None, 3, 1, standings, "t0", "t0", 0.0, **known)


def told(verdict: Verdict, folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Wherever a verdict is told to people: the place and the text."""
    search, page = SearchFolder(folder, "bowls"), write_report(verdict, folder)
    search.create(plan_of()).release()
    with Ledger(search.ledger_file) as ledger:
        ledger.append(event_of("search_started", name="bowls", num_trials=1, code_version=""))
    confirmation = SearchFolder(folder, "bowls-confirm")
    confirmation.create(plan_of(name="bowls-confirm", confirmation=Confirmation("bowls", (), 3, 1))).release()
    with Ledger(confirmation.ledger_file) as ledger:
        ledger.append(event_of("search_ended", reason="all trials"))
    write_report(verdict, confirmation.path)
    show_confirmation(verdict, page)
    document = json.loads(page.with_suffix(".json").read_text())
    return {
        "the terminal": capsys.readouterr().out,
        "the page": page.with_suffix(".md").read_text().replace("the winner's curse", ""),
        "the JSON's words": " ".join([document["sentence"], *(standing["finding"] for standing in document["standings"])]),
        "the search's report": report_page(RecordedSearch(search, plan_of(), SearchState(plan_of().objective)), {}, {}),
    }


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("findings", [["tied"], ["tied", "worse"], ["not compared", "worse"]])
def test_nobody_is_called_the_winner_whose_lead_is_not_established(
    findings: list[Finding], mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The word stood beside the sentence that no configuration is better than the others."""
    for place, text in told(verdict_of(findings, mode), tmp_path, capsys).items():
        assert "winner" not in text.lower(), place
        assert "best mean" in text, place


def test_whoever_is_better_than_all_others_is_the_winner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(verdict_of(["worse", "worse"]), tmp_path, capsys)
    assert all("winner" in found[place] for place in ("the terminal", "the page", "the JSON's words"))
    assert not any("best mean" in found[place] for place in ("the terminal", "the JSON's words"))


def test_the_keys_that_scripts_read_are_what_they_were(tmp_path: Path) -> None:
    verdict = verdict_of(["tied"])
    document = verdict.to_json()
    assert (document["winner"], document["winner_run"], document["tied"]) == ("t0", "t0-seed7", ["t1"])
    assert {"winner_metrics", "test_metrics", "standings", "sentence"} <= set(document)
    write_report(verdict, tmp_path)
    assert read_verdict(tmp_path) == Verdict.from_json(json.loads(json.dumps(document)))


@pytest.mark.parametrize(
    ("gain", "interval", "said"),
    [
        (0.03, [0.01, 0.05], "t1 is better than t0 by 0.0300 [0.0100, 0.0500] at 95 %"),
        (0.03, [-0.01, 0.05], "t1 cannot be told from t0: the gain is 0.0300 [-0.0100, 0.0500] at 95 %, which contains 0"),
        (0.03, None, "the mean of t1 less that of t0 is 0.0300; there is no interval, and neither is known to be better"),
        (
            -0.03,
            [-0.05, -0.01],
            "t0 did better than t1 by 0.0300 where it ran, t1 less t0 being in [-0.0500, -0.0100] at 95 %",
        ),
    ],
)
def test_a_gain_over_the_paper_is_called_better_only_where_its_interval_says_so(
    gain: float, interval: list[float] | None, said: str
) -> None:
    """It said "is better by 0.0300 [-0.0100, 0.0500]"."""
    paper, best = (TrialRecord(name, complete(BowlSpace, {}), 0) for name in ("t0", "t1"))
    paper.score, best.score = 0.5, 0.6
    confirmed = {"name": "bowls-confirm", "winner": "t1", "gain": gain, "interval": interval}
    lines = Baseline(paper, (), best, 1).sentences("bowls", confirmed)
    assert lines[1] == f"on fresh seeds {said} (bowls-confirm)"


def test_under_the_table_stands_why_an_interval_changes_with_its_opponents(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note = "a configuration's depends on which others it is compared with."
    found = told(verdict_of(["tied"]), tmp_path, capsys)
    for place in ("the terminal", "the page"):
        lines = found[place].splitlines()
        (row,) = [number for number, line in enumerate(lines) if note in line]
        assert row > max(number for number, line in enumerate(lines) if "0.45" in line and "t1" in line), place


def test_without_intervals_nothing_is_said_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = verdict_of(["not compared"])
    bare = replace(bare, num_seeds=2, standings=tuple(replace(standing, interval=None) for standing in bare.standings))
    assert not any("hold all at once" in text or "hold together" in text for text in told(bare, tmp_path, capsys).values())
