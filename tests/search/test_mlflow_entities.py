"""What events become in MLflow, by hand."""

import pytest
from bowl_events import begun, config_of, epoch_of, event_of, plan_of, reported, state_after

from search.records.plan import Candidate, Confirmation, Experiment, Plan, Reproduction
from search.records.tracking.entities import closing_metrics, closing_tags, source_tags, summary_values

CONFIRMED = plan_of(source="derm7pt:/data", confirmation=Confirmation("earlier", (Candidate("t3", config_of(), 4, 0.5),), 2, 5))
REPRODUCED = plan_of(reproduction=Reproduction((Experiment("ours", config_of()), Experiment("theirs", config_of())), 2))


@pytest.mark.parametrize(("plan", "command"), [(plan_of(), "search"), (CONFIRMED, "confirm"), (REPRODUCED, "reproduce")])
def test_a_runs_source_is_the_command_that_made_it(plan: Plan, command: str) -> None:
    assert source_tags(plan)["mlflow.source.name"] == f"dermtune {command} bowl"


def test_a_reproductions_run_names_its_experiment() -> None:
    state = state_after(REPRODUCED, [*begun("t0000", 1.0), *begun("t0003", 2.0)])
    tags = {trial.trial: closing_tags(trial, REPRODUCED, None) for trial in state.trials.values()}
    found = {trial: {tag.key: tag.value for tag in those}["experiment"] for trial, those in tags.items()}
    assert found == {"t0000": "ours", "t0003": "theirs"}
    assert "experiment" not in {tag.key for tag in closing_tags(state.trials["t0000"], plan_of(), None)}


def test_what_a_trial_took_is_a_metric_at_step_nought() -> None:
    trial = state_after(plan_of(), [*begun("t0", 1.0), reported("t0", 2.0, epoch_of(1, 4.0, 4.0, True, seconds=2.5))]).trials[
        "t0"
    ]
    found = [(metric.key, metric.value, metric.timestamp, metric.step) for metric in closing_metrics(trial, 7)]
    assert found == [
        ("train_s", 2.5, 7, 0),
        ("best/valid/height", 4.0, 7, 0),
        ("best/score", 4.0, 7, 0),
        ("best/epoch", 1.0, 7, 0),
    ]


def test_a_share_of_a_gpu_that_was_not_planned_is_none_and_a_value_of_nought_stays() -> None:
    plan = plan_of(gpus_per_trial=None, cpus_per_trial=2.0)
    epoch = epoch_of(3, 0.0, 0.0, True, seconds=1800.0)
    events = [*begun("t0", 1.0), reported("t0", 2.0, epoch), event_of("finished", 3.0, trial="t0", reason="max_epochs")]
    values = summary_values(state_after(plan, events), plan)
    assert {name: values[name] for name in ("gpu_hours", "cpu_hours", "best/value", "best/score", "best/epoch")} == {
        "gpu_hours": 0.0,
        "cpu_hours": 1.0,
        "best/value": 0.0,
        "best/score": 0.0,
        "best/epoch": 3.0,
    }


@pytest.mark.parametrize(
    ("plan", "fold", "source"),
    [
        (plan_of(), None, None),
        (plan_of(), 2, None),
        (plan_of(source="derm7pt:/data"), 2, "derm7pt:/data"),
        (CONFIRMED, None, "derm7pt:/data"),
        (CONFIRMED, 2, "derm7pt:/data#fold=2/5"),
        (CONFIRMED, 0, "derm7pt:/data#fold=0/5"),
    ],
)
def test_a_trial_of_a_confirmation_reads_its_own_fold(plan: Plan, fold: int | None, source: str | None) -> None:
    assert plan.source_of(fold) == source


def test_a_plan_as_text_is_indented_by_one() -> None:
    assert plan_of(name="mine").dumps().startswith('{\n "name": "mine",\n "task": "bowl",\n')
    assert plan_of().dumps().endswith("\n}\n")
