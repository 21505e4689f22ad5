"""Rungs and scores count from the epoch in which the objective is trained: masks first, the diagnosis after them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from bowl_events import epoch_result, event_of
from bowl_search import PLAN, bowl_epochs, recording, with_changes

from search.analysis.leaderboard import rung_predictions
from search.records.events import EpochResult, Event
from search.records.state import SearchState
from search.strategy.forecast import expected_epochs
from search.strategy.optuna_controller import OptunaController
from search.strategy.simulation import Curve, simulate
from search.strategy.suggestion import Suggestion
from spaces.attentive import AttentiveSpace
from spaces.bowl import BowlSpace
from spaces.delays import delay_of
from spaces.fields import complete, fields_of
from trainables.contract import Objective
from trainables.data.segmented import ATTRIBUTES, STRUCTURES

ATTENTIVE, BOWL = fields_of(AttentiveSpace), fields_of(BowlSpace)


@pytest.mark.parametrize(
    ("metric", "delay"),
    [
        ("valid/melanoma/auroc", 4),
        ("valid/melanoma/average_precision", 4),
        ("valid/structures/map", 2),
        ("valid/attributes/pixel_auroc_mean", 2),
        *((f"valid/{attribute}/iou", 2) for attribute in ATTRIBUTES),
        *((f"valid/{generic}/iou", 0) for generic in STRUCTURES if generic not in ATTRIBUTES),
        ("valid/gazes/pointing_accuracy", 0),
        ("valid/loss", 4),
    ],
)
def test_which_metric_waits_for_which_field(metric: str, delay: int) -> None:
    config = complete(AttentiveSpace, {"decoder_first_epochs": 4, "generic_first_epochs": 2})
    assert delay_of(ATTENTIVE, config, metric) == delay
    assert delay_of(ATTENTIVE, complete(AttentiveSpace, {}), metric) == 0
    assert delay_of(ATTENTIVE, complete(AttentiveSpace, {"decoder": False}), metric) == 0, "there it means nothing"


def _epochs(values: Sequence[float], delay: int) -> list[EpochResult]:
    """As a trial reports them, each score the value itself."""
    return [
        epoch_result(
            epoch=epoch,
            metrics={"valid/height": value},
            score=value,
            seconds=1.0,
            is_best=epoch in (1, delay + 1) or (epoch > delay and value <= min(values[delay : epoch - 1])),
            window=0 if epoch <= delay else min(epoch - delay, 3),
        )
        for epoch, value in enumerate(values, start=1)
    ]


#: Configurations by the height of their bowl: their curves over nine epochs. The last learns for four epochs something else, in
#: which its height stays that of a guess; from then on it is the best.
AT_ONCE = {0.8: [9.0, 8.0, 7.5, 7.0, 7.0, 7.0, 7.0, 7.0, 7.0], 0.6: [8.0, 7.0, 6.0, 5.5, 5.0, 5.0, 5.0, 5.0, 5.0]}
LATE = [20.0, 21.0, 20.0, 22.0, 3.0, 2.0, 1.0, 1.0, 1.0]


def _searched(curves: Mapping[float, Sequence[float]], scheduler: str, late_curve: Sequence[float]) -> dict[str, Any]:
    """A search over these configurations and, last, one of four epochs' delay; its state and the last one's record."""
    late, delay = 0.1, 4
    plan = with_changes(
        scheduler=scheduler, num_trials=len(curves) + 1, reduction=3, max_concurrent=1, objective=Objective("valid/height", "min")
    )
    journal, events = recording()
    controller = OptunaController(plan, journal)
    controller._choose = lambda: _suggestion(next(order))  # type: ignore[method-assign]
    order = iter([*curves, late])

    def _suggestion(x: float) -> Suggestion:
        config = complete(BowlSpace, {"x": x, "idle_epochs": delay if x == late else 0, "shape": "round"})
        return Suggestion(f"t{sorted([*curves, late], reverse=True).index(x):04d}", config, 7)

    def curve_of(suggestion: Suggestion) -> Curve:
        x = float(suggestion.config["x"] or 0)
        return Curve(_epochs(late_curve, delay) if x == late else _epochs(curves[x], 0))

    simulate(controller, curve_of, 1)
    state = SearchState.of(events, plan.objective)
    return {"plan": plan, "state": state, "late": next(r for r in state.trials.values() if r.config["x"] == late)}


@pytest.mark.parametrize("scheduler", ["asha", "median"])
def test_a_trial_that_learns_masks_first_survives_where_it_deserves_to(scheduler: str) -> None:
    """Judged by its fourth epoch it would be out at .49 against .97; judged by the epochs that count it is the best."""
    found = _searched(AT_ONCE, scheduler, LATE)
    assert found["late"].state == "finished"
    assert found["late"].last_epoch == 9
    assert found["state"].ranked()[0] is found["late"]


def test_a_trial_that_learns_masks_first_and_is_bad_is_stopped_at_its_own_first_rung() -> None:
    curves = {0.8: [3.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], 0.6: [3.0, 2.0, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5]}
    late = _searched(curves, "asha", [20.0, 21.0, 20.0, 22.0, *[19.0] * 5])["late"]
    assert (late.state, late.reason, late.last_epoch) == ("stopped", "rung 1", 5)


def test_how_well_rungs_predict_is_read_from_the_epochs_that_count() -> None:
    """Eight configurations keep their order at every epoch that counts; by the epochs as they come the late ones would not."""
    plan = replace(PLAN, scheduler="asha", num_trials=8, max_epochs=9)
    events: list[Event] = []
    for number in range(8):
        delay = 3 if number % 2 else 0
        trial, config = f"t{number:04d}", complete(BowlSpace, {"x": 0.1 * number, "idle_epochs": delay, "shape": "round"})
        values = [50.0 - 5 * number] * delay + [10.0 + number - 0.1 * epoch for epoch in range(9 + 3)]
        for kind, more in (
            ("suggested", {"config": config, "seed": number}),
            ("started", {"where": {}, "notes": []}),
            ("reported", {"epochs": _epochs(values[: 9 + 3], delay)}),
            ("finished", {"reason": "max_epochs"}),
        ):
            events.append(event_of(kind, 0.0, trial=trial, **more))
    pairs = rung_predictions(plan, SearchState.of(events, plan.objective))
    assert [(pair["rung"], pair["later"]) for pair in pairs] == [(1, 3), (3, 9)]
    assert all(pair["estimate"] > 0.99 for pair in pairs)


def test_the_bowl_itself_counts_from_where_it_sinks() -> None:
    plan = with_changes(scheduler="none", max_epochs=7)
    config = complete(BowlSpace, {"x": 0.3, "y": -0.7, "rate": 0.5, "idle_epochs": 4, "shape": "round"})
    epochs = bowl_epochs(plan, Suggestion("t0000", config, 7))
    assert [epoch.window for epoch in epochs] == [0, 0, 0, 0, 1, 2, 3]
    assert [epoch.score for epoch in epochs[4:]] == pytest.approx([1.5, 1.125, 0.875])
    assert [epoch.is_best for epoch in epochs] == [True, False, False, False, True, True, True]


def test_what_a_search_costs_counts_the_delay() -> None:
    """Grace 3, at most 9, one in three goes on: 3 + 6/3 = 5 epochs; four epochs later 7 + 2/3; the mean of both bounds."""
    plan = with_changes(scheduler="asha", grace_period=3, max_epochs=9, reduction=3)
    assert expected_epochs(plan) == pytest.approx(5)
    assert expected_epochs(replace(plan, fixed={**plan.fixed, "idle_epochs": 4})) == pytest.approx(7 + 2 / 3)
    drawn = {name: value for name, value in plan.fixed.items() if name != "idle_epochs"}
    searched = replace(plan, fixed=drawn, space={"idle_epochs": "0|4"})
    assert expected_epochs(searched) == pytest.approx(5 + 4 / 3), "two epochs on average: 5 + 4/3"
