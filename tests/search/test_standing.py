"""What is said of where a search stands: limits that nobody keeps, failures, equals, the paper's trial and the gain over it."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bowl_events import begun, epoch_of, event_of, plan_of, reported, state_after

from search.analysis.leaderboard import RecordedSearch, confirmed_gain, trial_rows
from search.cli.main import run
from search.cli.options import Context
from search.cli.standings import show_result
from search.cli.training import _show_search
from search.execution.result import SearchResult
from search.records.constraints import Constraint
from search.records.events import Event
from search.records.folder import SearchFolder
from search.records.ledger import Ledger
from search.records.plan import Plan
from search.records.standing import (
    baseline_of,
    failure_reasons,
    is_constant,
    mean_of,
    paper_settings,
    ranking_note,
    tied_with,
    why_none,
)
from search.records.state import SearchState
from search.records.tracking.entities import closing_tags, summary_tags, summary_values
from trainables.contract import Objective
from trainables.tasks import TASKS

PLAN = plan_of(num_trials=4)


def trial(number: int, score: float, *, window: int = 3, x: float | None = None, **more: float) -> list[Event]:
    """A trial that has reported once, with a mean over so many validations."""
    name = f"t{number:04d}"
    epoch = replace(epoch_of(window, score, score, True, **more), window=window)
    return [*begun(name, number, **({"x": number / 8} if x is None else {"x": x})), reported(name, number + 0.5, epoch)]


def failed(number: int, reason: str) -> list[Event]:
    return [
        *begun(f"t{number:04d}", number, x=number / 8),
        event_of("failed", number + 0.5, trial=f"t{number:04d}", reason=reason),
    ]


def result_of(plan: Plan, events: list[Event], folder: Path, ended: str = "all trials") -> SearchResult:
    return SearchResult(plan, SearchFolder(folder, plan.name), state_after(plan, events), {}, ended, "0")


def test_when_no_trial_keeps_the_limits_the_nearest_is_named_with_its_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = replace(PLAN, constraints=(Constraint.parse("valid/cost<=1"), Constraint.parse("valid/height<=99")))
    events = [line for n, cost in enumerate((3.0, 1.25, 2.0, 9.0)) for line in trial(n, 1.0 + n, cost=cost)]
    result = result_of(plan, events, tmp_path)
    sentence = (
        "4 of 4 trials reported, and none keeps all limits (valid/cost<=1, valid/height<=99); the nearest is t0001 with"
        " valid/cost 1.25, score 2.0000 (--constraint)"
    )
    assert (result.best, why_none(plan, result.state)) == (None, sentence)
    show_result(result, tmp_path)
    text = capsys.readouterr().out
    assert f"{sentence}\nsee: dermtune show bowls --storage" in text
    assert "no trial reported anything" not in text
    summary = result.summary()
    assert (summary["num_reported"], summary["why_no_best"]) == (4, sentence)


def test_why_every_trial_failed_is_said_with_its_most_frequent_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = [
        *failed(0, "DataError: image 17 is gone"),
        *failed(1, "RuntimeError: out of memory at 0x7f3 after 12 s"),
        *failed(2, "RuntimeError: out of memory at 0x9f3 after 1.5 s"),
    ]
    state = state_after(PLAN, events)
    first, second = failure_reasons(state)
    assert (first.trials, second.trials) == (["t0001", "t0002"], ["t0000"])
    sentence = "all 3 trials failed, 2 of them for the same reason and 1 other reason: RuntimeError: out of memory at 0x7f3"
    assert why_none(PLAN, state).startswith(sentence)
    result = result_of(PLAN, events, tmp_path)
    show_result(result, tmp_path)
    text = capsys.readouterr().out
    assert sentence in text
    assert "see: dermtune show bowls t0001 --storage" in text
    assert _show_search(Context(tmp_path, None, None, True), result, pictures=False) == 1


@pytest.mark.parametrize("json_asked", [False, True])
def test_a_search_interrupted_before_the_first_report_shows_no_leaderboard(
    json_asked: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = result_of(PLAN, begun("t0000", 0.0), tmp_path, "interrupted")
    assert _show_search(Context(tmp_path, None, None, json_asked), result, pictures=False) == 130
    text = capsys.readouterr().out
    assert text == "" if not json_asked else json.loads(text)["num_reported"] == 0


def test_what_the_trials_took_and_what_the_command_took_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = result_of(PLAN, [*trial(0, 0.5), event_of("search_ended", 15.2, reason="all trials")], tmp_path)
    context = Context(tmp_path, None, None, False, begun=time.monotonic() - 103)
    assert _show_search(context, result, pictures=False) == 0
    assert "0 stopped early, 0 failed; they took 15 s, the whole command 1 min 43 s\n" in capsys.readouterr().out
    _show_search(replace(context, json=True), result, pictures=False)
    document = json.loads(capsys.readouterr().out)
    assert document["wall_s"] == 15.2
    assert 103 <= document["command_s"] < 133


def test_equal_scores_are_called_equal_and_the_first_is_not_called_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [line for n in (2, 0, 1) for line in trial(n, 0.5)]
    result = result_of(PLAN, events, tmp_path)
    assert is_constant(result.state)
    assert result.summary()["constant"] is True
    show_result(result, tmp_path)
    text = capsys.readouterr().out
    assert "Nothing distinguishes the trials: valid/height has the same score, 0.5000, in all 3" in text
    assert "First of equals: t0002" in text
    assert "Best: " not in text
    assert "Picked as the best" not in text
    other = state_after(PLAN, [*events, *trial(3, 0.7)])
    assert not is_constant(other)
    assert other.best is not None
    assert [t.trial for t in tied_with(other, other.best)] == ["t0002", "t0000", "t0001"]
    assert not is_constant(state_after(PLAN, trial(0, 0.5))), "one trial alone distinguishes itself from nobody"


@pytest.mark.parametrize(
    ("window", "words"),
    [(3, "the mean of three validations"), (2, "the mean of two validations"), (1, "one validation, not a mean")],
)
def test_a_score_is_called_the_mean_of_what_it_is(
    window: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mean_of(window) == words
    result = result_of(PLAN, trial(0, 0.5, window=window), tmp_path)
    show_result(result, tmp_path)
    assert f"(score 0.5000, {words}" in capsys.readouterr().out
    assert result.summary()["best_window"] == window
    assert bool(ranking_note(window)) is (window < 3)


def test_scores_over_fewer_validations_are_marked_in_the_leaderboard(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_result(result_of(PLAN, [*trial(0, 0.5), *trial(1, 0.1, window=1)], tmp_path), tmp_path)
    text = capsys.readouterr().out
    assert "mean of" in text
    assert text.index("t0000") < text.index("t0001"), "one over fewer never ranks first"
    show_result(result_of(PLAN, [*trial(0, 0.5), *trial(1, 0.1)], tmp_path), tmp_path)
    assert "mean of │" not in capsys.readouterr().out


def test_every_metric_is_shown_at_the_checkpoints_epoch_beside_the_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The mean over three validations of the second metric is .2050, and `evaluate` gives .1417."""
    plan = replace(PLAN, further_objectives=(Objective("valid/map", "max"),))
    epochs = [epoch_of(n, 0.5, 0.5, True, map=value) for n, value in ((1, 0.2733), (2, 0.2), (3, 0.1417))]
    result = result_of(plan, [*begun("t0000", 0.0), reported("t0000", 1.0, *epochs)], tmp_path)
    (row,) = trial_rows(RecordedSearch(result.folder, plan, result.state))
    assert row["values"] == {"valid/height": 0.5, "valid/map": 0.1417}
    assert row["scores"]["valid/map"] == pytest.approx(0.205)
    show_result(result, tmp_path)
    text = capsys.readouterr().out
    assert "0.1417" in text
    assert "0.2050" not in text


def with_paper(*others: Event) -> SearchState:
    return state_after(PLAN, [*trial(0, 0.75, x=0.0), *others])


def test_the_papers_trial_is_marked_with_what_has_been_gained_over_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = [*trial(0, 0.75, x=0.0), *[line for n in range(1, 12) for line in trial(n, 0.25 + n / 100, x=n / 16)]]
    result = result_of(PLAN, events, tmp_path)
    summary = result.summary()
    assert (summary["paper_trial"], summary["gain"]) == ("t0000", pytest.approx(0.75 - 0.26))
    show_result(result, tmp_path)
    text = capsys.readouterr().out
    assert "t0000 †" in text, "below the ten best, too"
    assert "… and 1 more" in text
    assert "† t0000 is the paper's configuration; the score of t0001 is better by 0.4900 (0.2600, 0.7500): one training" in text
    assert "dermtune confirm bowls --top 5" in text
    assert "(--top 12 for the paper's, t0000, as well)" in text
    few = result_of(PLAN, [*trial(0, 0.75, x=0.0), *trial(1, 0.5)], tmp_path)
    show_result(few, tmp_path)
    assert "--top 2" in (text := capsys.readouterr().out)
    assert "is it the best on fresh seeds as well? (t0000, the paper's, among them)" in text


def test_the_gain_is_named_where_it_can_be_and_settings_are(tmp_path: Path) -> None:
    baseline = baseline_of(PLAN, with_paper())
    assert baseline is not None
    assert (baseline.gain, baseline.sentences("bowls")) == (
        0,
        ["t0000 is the paper's configuration: no trial has a better score"],
    )
    shorter = baseline_of(PLAN, with_paper(*trial(1, 0.5, window=2)))
    assert shorter is not None
    assert shorter.best is shorter.trial, "a mean over two does not beat one over three"
    broken = baseline_of(PLAN, state_after(PLAN, [*failed(0, "RuntimeError: broke"), *trial(1, 0.5)]))
    assert broken is not None
    assert broken.gain is None
    assert broken.sentences("bowls") == [
        "t0000 is the paper's configuration; it failed (RuntimeError: broke), so that there is no gain to be named"
    ]
    own = replace(PLAN, fixed={**PLAN.fixed, "y": 0.5})
    found = baseline_of(own, state_after(own, [*begun("t0000", 0.0, y=0.5)]))
    assert found is not None
    assert found.label == "the paper's configuration with this search's settings (y=0.5)"
    assert baseline_of(own, with_paper()) is None


@pytest.mark.parametrize(
    ("task", "preset", "expected"),
    [
        ("gated", "demo", ["max_epochs=18", "size_px=96", "selection=metric", "patience=12"]),
        ("gated", "paper", ["max_epochs=200", "selection=metric"]),
        (
            "attentive",
            "demo",
            ["max_epochs=12", "crop_from_px=72", "encoder_weights=none", "selection=metric", "size_px=64", "width=0.125"],
        ),
        ("attentive", "paper", ["selection=metric"]),
        ("bowl", "demo", []),
    ],
)
def test_how_long_and_by_what_a_search_trains_is_not_the_papers_unless_it_is(task: str, preset: str, expected: list[str]) -> None:
    """The label promised the paper's configuration and kept silent of 18 epochs for 1000, and of another rule."""
    found = TASKS[task].presets[preset]
    plan = replace(PLAN, task=task, preset=preset, fixed=found.fixed, max_epochs=found.max_epochs, space={})
    said = paper_settings(plan, plan.paper_config)
    assert said is not None
    assert sorted(said) == sorted(expected)
    reproduced = replace(plan, fixed=TASKS[task].paper_rules, max_epochs=TASKS[task].presets["paper"].reproduced_epochs)
    assert paper_settings(reproduced, reproduced.paper_config) == []


def test_mlflow_has_the_papers_trial_and_the_gain() -> None:
    state = with_paper(*trial(1, 0.5))
    values = summary_values(state, PLAN)
    assert (values["paper/score"], values["gain"]) == (0.75, 0.25)
    tags = {tag.key: tag.value for tag in summary_tags(state, PLAN, [])}
    assert tags["paper_trial"] == "t0000"
    assert "better by 0.2500" in tags["paper_gain"]
    own = [{tag.key: tag.value for tag in closing_tags(trial, PLAN, None)} for trial in state.trials.values()]
    assert [tags.get("configuration") for tags in own] == ["the paper's configuration", None]


def test_show_gives_the_gain_a_trial_by_name_and_what_a_confirmation_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = SearchFolder(tmp_path, PLAN.name)
    folder.create(PLAN).release()
    with Ledger(folder.ledger_file) as ledger:
        for told in [*trial(0, 0.75, x=0.0), *trial(1, 0.5)]:
            ledger.append(told)
    place = ("--storage", str(tmp_path))
    assert run(("show", PLAN.name, "t0001", *place, "--json")) == 0
    by_name = capsys.readouterr().out
    assert run(("show", PLAN.name, "--trial", "t0001", *place, "--json")) == 0
    assert capsys.readouterr().out == by_name
    assert json.loads(by_name)["trial"] == "t0001"
    assert run(("show", PLAN.name, "t0001", "--trial", "t0000", *place)) == 2
    assert "TRIAL must be named once; got t0001 and --trial t0000" in capsys.readouterr().err
    found = RecordedSearch(folder, PLAN, with_paper(*trial(1, 0.5)))
    assert confirmed_gain(found) is None
    (tmp_path / "bowls-confirm").mkdir()
    standing: dict[str, Any] = {"trial": "t0000", "difference": -0.03, "difference_interval": [-0.05, -0.01]}
    verdict = {"search": "bowls", "name": "bowls-confirm", "winner": "t0001", "standings": [standing]}
    (tmp_path / "bowls-confirm" / "confirmation.json").write_text(json.dumps(verdict))
    expected = {"name": "bowls-confirm", "winner": "t0001", "gain": 0.03, "interval": [0.01, 0.05]}
    assert confirmed_gain(found) == expected
    (tmp_path / "bowls-confirm-2").mkdir()
    (tmp_path / "bowls-confirm-2" / "confirmation.json").write_text(json.dumps(verdict)[:30])
    assert confirmed_gain(found) == expected, "a report that is cut short is left out"
    shutil.rmtree(tmp_path / "bowls-confirm-2")
    assert run(("show", PLAN.name, *place, "--json")) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["paper_trial"], document["gain"], document["confirmed_gain"]) == ("t0000", 0.25, expected)
    assert run(("show", PLAN.name, *place)) == 0
    assert (
        "on fresh seeds t0001 is better than t0000 by 0.0300 [0.0100, 0.0500] at 95 % (bowls-confirm)" in capsys.readouterr().out
    )
