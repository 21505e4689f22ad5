"""Diagnosis against explanation: who stands on the front, by hand; its picture and its words."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from bowl_events import begun, epoch_result, plan_of, reported, state_after

from search.analysis import figures
from search.analysis.explained import CommonExplanations, common_explanations, tradeoff_figure
from search.analysis.leaderboard import RecordedSearch, tradeoff_of
from search.cli.standings import show_search
from search.records.constraints import Constraint
from search.records.description import objective_words
from search.records.events import EpochResult, Event
from search.records.folder import SearchFolder
from search.records.plan import Plan
from trainables.contract import Objective

AUROC, CONTRIBUTED = "valid/auroc_mean", "valid/gates/contribution"
PLAN = replace(plan_of(name="gates"), task="gated", objective=Objective(AUROC, "max"))
#: Trial → diagnosis, explanation (None where the gates are off), cost.
FOUND = {
    "t0000": (0.90, 0.2, 1.0),
    "t0001": (0.80, 0.6, 1.0),
    "t0002": (0.85, 0.1, 1.0),
    "t0003": (0.95, None, 1.0),
    "t0004": (0.99, 0.9, 9.0),
}


def epochs(trial: str, metric: str) -> list[EpochResult]:
    diagnosis, contributed, cost = FOUND[trial]
    explained = {} if contributed is None else {CONTRIBUTED: contributed}
    metrics: Mapping[str, float] = {metric: diagnosis, "cost": cost, **explained}
    return [epoch_result(epoch=number, metrics=metrics, score=diagnosis, seconds=1.0, is_best=True) for number in (1, 2, 3)]


def search_of(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> RecordedSearch:
    told: list[Event] = []
    for number, trial in enumerate(FOUND):
        told += [*begun(trial, number), reported(trial, number + 0.5, *epochs(trial, plan.objective.metric))]
    return RecordedSearch(SearchFolder(tmp_path_factory.mktemp("tradeoff"), plan.name), plan, state_after(plan, told))


def test_the_front_of_diagnosis_and_explanation(tmp_path_factory: pytest.TempPathFactory) -> None:
    limited = replace(PLAN, constraints=(Constraint.parse("cost<=5"),))
    found = tradeoff_of(search_of(limited, tmp_path_factory))
    assert found is not None
    assert list(found.points) == ["t0000", "t0002", "t0001"], "within the limit, explaining, best diagnosis first"
    assert found.points["t0001"] == pytest.approx((0.80, 0.6))
    assert found.front == ("t0000", "t0001")
    assert found.to_json()["metrics"] == [AUROC, CONTRIBUTED]
    assert figures.png(tradeoff_figure(found)).startswith(b"\x89PNG")
    free = tradeoff_of(search_of(PLAN, tmp_path_factory))
    assert free is not None
    assert free.front == ("t0004",)


def test_there_is_none_where_the_explanation_was_searched_for_or_nobody_explains(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    both = replace(PLAN, further_objectives=(Objective(CONTRIBUTED, "max"),))
    assert tradeoff_of(search_of(both, tmp_path_factory)) is None
    assert tradeoff_of(search_of(replace(PLAN, task="bowl"), tmp_path_factory)) is None


def test_a_picture_that_was_not_drawn_leaves_no_place(tmp_path_factory: pytest.TempPathFactory) -> None:
    common = common_explanations(search_of(PLAN, tmp_path_factory), {})
    assert "%%owner-objective_and_explanation%%" in common.text("owner", common.pictures)
    assert "%%" not in common.text("owner", ())
    assert "Pareto front of valid/auroc_mean (mean over all tasks) and explanation: t0004." in common.text("owner", ())
    assert CommonExplanations().text("owner", ()) == ""


@pytest.mark.parametrize(
    ("metric", "primary", "words"),
    [
        (AUROC, "auto", "mean over all tasks"),
        ("valid/DIAG/auroc", "auto", "diagnosis"),
        ("valid/diagnosis/recall", "auto", "diagnosis"),
        ("valid/melanoma/auroc", "auto", "diagnosis"),
        ("valid/melanoma/auroc", "lesion type", "diagnosis"),
        ("valid/lesion type/auroc", "lesion type", "diagnosis"),
        ("valid/DIAG/auroc", "lesion type", "DIAG"),
        ("valid/PN/auroc", "auto", "PN"),
        ("valid/criteria/recall", "auto", "criteria"),
        ("valid/loss", "auto", "loss"),
    ],
)
def test_only_the_primary_tasks_metrics_are_called_the_diagnosis(
    metric: str, primary: str, words: str, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = replace(PLAN, fixed={**PLAN.fixed, "primary_task": primary}, objective=Objective(metric, "max"))
    assert objective_words(plan) == words
    search = search_of(plan, tmp_path_factory)
    found = tradeoff_of(search)
    assert found is not None
    (axes,) = tradeoff_figure(found).axes
    assert axes.get_xlabel() == f"{words}: {metric} (max)"
    show_search(search, [], [], found, None)
    assert f"{words} ({metric}) against explanation ({CONTRIBUTED}), both as means" in capsys.readouterr().out
