"""Searches and trials in words, against pages written by hand."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from bowl_events import begun, epoch_of, event_of, plan_of, reported, state_after

from search.records.description import search_page, trial_page
from search.records.events import Event
from search.records.plan import Candidate, Confirmation, Experiment, Plan, Reproduction
from search.records.state import SearchState
from spaces.fields import complete
from spaces.gated import GatedSpace
from trainables.contract import Objective
from trainables.tasks import TASKS

PLAN = plan_of(name="bowls", num_trials=4, max_epochs=9, notes=("few cases",))
EVENTS = [
    event_of("search_started", 0.0),
    *begun("t0", 1.0),
    reported("t0", 2.0, epoch_of(1, 4.0, 4.0, True), epoch_of(2, 2.0, 3.0, True), epoch_of(3, 1.0, 7 / 3, True, seconds=3.4)),
    event_of("finished", 3.0, trial="t0", reason="patience"),
    *begun("t1", 4.0, shape="tilted", tilt=0.123456, x=-0.5),
    reported("t1", 5.0, epoch_of(1, 9.0, 9.0, True)),
    event_of("stopped", 5.5, trial="t1", reason="rung 1"),
    *begun("t2", 6.0),
    event_of("failed", 6.5, trial="t2", reason="RuntimeError: a | b"),
    *begun("t3", 7.0),
]


def page_of(events: Sequence[Event], plan: Plan = PLAN, notices: Sequence[str] = ()) -> list[str]:
    return search_page(state_after(plan, events), plan, notices).splitlines()


def test_the_page_of_a_running_search() -> None:
    assert page_of(EVENTS, notices=["two at once", "few cases"]) == [
        "**bowl**: 4 trials of at most 9 epochs, `tpe` suggests, `asha` stops. Looks for `valid/height` (min).",
        "",
        "Runs. 1 finished, 1 stopped, 1 failed, 1 running.",
        "",
        "Best so far: **t0**, score 2.3333, value 1.0000 at epoch 3. `dermtune best bowls --out FOLDER` brings its checkpoint.",
        "",
        "| field | here | paper |",
        "|---|---|---|",
        "| x | 0 | 0 |",
        "| y | 0 | 0 |",
        "| shape | round | round |",
        "| rate | 0.3 | 0.3 |",
        "",
        "t0 is the paper's configuration: no trial has a better score.",
        "",
        "- few cases",
        "- two at once",
    ]


def test_the_page_of_an_ended_search() -> None:
    lines = page_of([*EVENTS, event_of("search_ended", 9.0, reason="all trials ended")])
    assert lines[2] == "Ended: all trials ended. 1 finished, 1 stopped, 1 failed, 1 running."
    assert lines[4].startswith("Best: **t0**, score 2.3333")


def test_the_page_of_a_search_without_a_trial() -> None:
    assert page_of(EVENTS[:1], replace(PLAN, notes=())) == [
        "**bowl**: 4 trials of at most 9 epochs, `tpe` suggests, `asha` stops. Looks for `valid/height` (min).",
        "",
        "Runs. No trial yet.",
    ]


def test_a_page_says_what_is_done_where_nothing_is_searched() -> None:
    config = complete(TASKS["bowl"].space, {})
    candidates = tuple(Candidate(name, config, 9, 0.5) for name in ("t3", "t1"))
    confirmed = replace(PLAN, scheduler="none", confirmation=Confirmation("bowls", candidates, 3, 5))
    assert page_of([], confirmed)[0] == (
        "**bowl**: 4 trials of at most 9 epochs: the 2 best configurations of bowls on 3 fresh seeds and 5 folds."
        " Metric: `valid/height` (min)."
    )
    reproduced = replace(
        PLAN, scheduler="none", reproduction=Reproduction((Experiment("standard", config), Experiment("half", config)), 2)
    )
    assert page_of([], reproduced)[0] == (
        "**bowl**: 4 trials of at most 9 epochs: the paper's standard, half on 2 seeds. Metric: `valid/height` (min)."
    )
    assert "`tpe` suggests, nothing is stopped early." in page_of([], replace(PLAN, scheduler="none"))[0]


def test_a_search_over_data_names_them_and_is_no_medical_device() -> None:
    plan = Plan(
        name="skin",
        task="gated",
        source="derm7pt:/data/my set",
        preset="demo",
        fixed={},
        objective=Objective("valid/auroc_mean", "max"),
        further_objectives=(Objective("model/num_parameters", "min"),),
        num_trials=3,
        max_epochs=5,
    )
    lines = search_page(SearchState(plan.objective), plan, []).splitlines()
    assert lines[0] == (
        "**gated** on `derm7pt:/data/my set`: 3 trials of at most 5 epochs, `tpe` suggests, `asha` stops."
        " Looks for `valid/auroc_mean` (max), `model/num_parameters` (min)."
    )
    assert lines[-1] == "Research software, not a medical device."


def trial_lines(trial: str, checkpoint: str | None = None, **changes: Any) -> list[str]:
    record = state_after(PLAN, EVENTS).trials[trial]
    return trial_page(replace(record, **changes), PLAN, checkpoint).splitlines()


def test_the_page_of_a_trial() -> None:
    assert trial_lines("t1", "/runs/trials/t1/best-00001", notes=["smaller images"]) == [
        "**stopped** (rung 1) after 1 of 9 epochs, 2 s.",
        "",
        "Best at epoch 1: valid/height 9.0000; score 9.0000 (one validation, not a mean).",
        "",
        "| field | here | paper |",
        "|---|---|---|",
        "| x | **-0.5** | 0 |",
        "| y | 0 | 0 |",
        "| shape | **tilted** | round |",
        "| tilt | **0.1235** | 0.9 |",
        "| rate | 0.3 | 0.3 |",
        "",
        "Checkpoint: `/runs/trials/t1/best-00001`",
        "",
        "- smaller images",
    ]


def test_the_page_of_a_trial_that_never_validated() -> None:
    lines = trial_lines("t2")
    assert lines[0] == "**failed** (RuntimeError: a | b) after 0 of 9 epochs, 0 s."
    assert not any(line.startswith(("Best at", "Checkpoint")) for line in lines)
    assert not any("tilt " in line for line in lines), "an inactive field has no row"


def test_fixed_fields_have_no_row() -> None:
    for name in ("noise", "fault", "seconds_per_epoch"):
        assert not any(line.startswith(f"| {name} ") for line in trial_lines("t0"))
    record = state_after(PLAN, EVENTS).trials["t0"]
    everything = replace(PLAN, fixed=dict(record.config))
    assert "| field |" not in trial_page(record, everything, None)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("a|b", "| shape | **a\\|b** | round |"), ("|", "| shape | **\\|** | round |"), ("round", "| shape | round | round |")],
)
def test_a_bar_in_a_value_does_not_end_its_cell(value: str, expected: str) -> None:
    record = state_after(PLAN, EVENTS).trials["t0"]
    assert expected in trial_lines("t0", config={**record.config, "shape": value})


def test_values_are_short() -> None:
    record = state_after(PLAN, EVENTS).trials["t0"]
    assert "| rate | **0.1235** | 0.3 |" in trial_lines("t0", config={**record.config, "rate": 0.123456789})
    assert "| x | **1e-05** | 0 |" in trial_lines("t0", config={**record.config, "x": 0.00001})


def test_flags_are_written_as_on_the_command_line() -> None:
    config = complete(GatedSpace, {"batch_norm": False})
    plan = Plan("skin", "gated", "derm7pt:/data", "demo", {}, TASKS["gated"].objective, 3, 5)
    state = SearchState.of([event_of("suggested", 0.0, trial="t0", config=config, seed=0)], plan.objective)
    lines = trial_page(state.trials["t0"], plan, None).splitlines()
    assert "| batch_norm | **false** | true |" in lines
    assert not any(line.startswith("| batch_norm_momentum ") for line in lines)
