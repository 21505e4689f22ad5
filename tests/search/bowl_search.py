"""A search over the bowl in simulated time, for the tests of what conducts it."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from search.records.events import EpochResult, Event
from search.records.ledger import Journal
from search.records.plan import Plan
from search.strategy.search_controller import SearchController
from search.strategy.simulation import Curve
from search.strategy.suggestion import Suggestion
from spaces.fields import Value
from trainables.bowl import build
from trainables.contract import Objective, TrialRequest

FIXED: dict[str, Value] = {"noise": 0.0, "fault": "none", "num_metrics": 1, "idle_epochs": 0, "seconds_per_epoch": 0.0}
PLAN = Plan(
    name="bowls",
    task="bowl",
    source=None,
    preset="demo",
    fixed=FIXED,
    objective=Objective("valid/height", "min"),
    num_trials=25,
    max_epochs=9,
    scheduler="asha",
    gpus_per_trial=0.0,
    max_concurrent=4,
    seed=7,
)
More = Callable[[Suggestion, int, float], dict[str, float]]


def bowl_epochs(
    plan: Plan, suggestion: Suggestion, more: More = lambda suggestion, epoch, height: {}, *, only_last: bool = False
) -> list[EpochResult]:
    """Every epoch that the bowl itself reports for a suggestion; trials differ in how long an epoch takes.

    Args:    more: suggestion, epoch and height → metrics beside the height.
             only_last: as in a confirmation.
    """
    request = TrialRequest(
        "bowl",
        suggestion.config,
        None,
        suggestion.seed,
        plan.objective,
        suggestion.epochs or plan.max_epochs,
        only_last_epoch=only_last,
        delay=plan.delay_of(suggestion.config),
    )
    trial, found = build(request), []
    for _ in range(request.max_epochs):
        report = trial.step()
        metrics = {**report.metrics, **more(suggestion, report.epoch, report.metrics["valid/height"])}
        seconds = 1 + suggestion.seed % 3 / 8
        found.append(
            EpochResult(
                epoch=report.epoch,
                metrics=metrics,
                score=report.score,
                seconds=seconds,
                is_best=report.is_best,
                window=report.window,
            )
        )
    return found


def bowl_curves(plan: Plan, more: More = lambda suggestion, epoch, height: {}) -> Callable[[Suggestion], Curve]:
    """The bowl's curves, for `simulate`."""
    return lambda suggestion: Curve(bowl_epochs(plan, suggestion, more))


def recording() -> tuple[Journal, list[Event]]:
    """A journal and the events that it has passed on."""
    journal, events = Journal(), list[Event]()
    journal.subscribe(events.append)
    return journal, events


def drive(
    controller: SearchController, workers: int = 3, *, back: int = 0, only_last: bool = False, until: int = 10**6
) -> list[Suggestion]:
    """Runs a search to its end, a worker after the other by an epoch each, from wherever its trials were.

    A trial that had been heard of up to its last epoch trains that one again, as after a crash before its end was noted.

    Args:    back: epochs before the last one heard of from which a trial goes on, as from an older state.
             only_last: as in a confirmation.
             until: reports after which the driver is gone.
    Returns: what was handed out, in order.
    """
    at: dict[str, tuple[list[EpochResult], int]] = {}
    handed_out: list[Suggestion] = []
    reports = 0
    while True:
        while len(at) < workers and (suggestion := controller.next()) is not None:
            handed_out.append(suggestion)
            controller.start(suggestion.trial, {"host": "here"})
            epochs = bowl_epochs(controller.plan, suggestion, only_last=only_last)
            at[suggestion.trial] = (epochs, max(0, min(suggestion.known_epoch, len(epochs) - 1) - back))
        if not at:
            break
        for trial, (epochs, done) in list(at.items()):
            if reports == until:
                return handed_out
            reports += 1
            epoch = epochs[done]
            at[trial] = (epochs, done + 1)
            saved = epoch.epoch if epoch.epoch in controller.rungs else None
            ended = "max_epochs" if epoch.epoch == len(epochs) else None
            if controller.report(trial, [epoch], ended, saved_epoch=saved):
                del at[trial]
    controller.settle()
    return handed_out


def of_kind(events: Sequence[Event], *kinds: str) -> list[Event]:
    """Events of these kinds, in order."""
    return [event for event in events if event.event in kinds]


def heard_epochs(events: Sequence[Event]) -> dict[str, list[int]]:
    """The epochs that were written down, trial by trial, in the order of writing."""
    found: dict[str, list[int]] = {event.trial: [] for event in of_kind(events, "suggested")}
    for event in of_kind(events, "reported"):
        found[event.trial] += [epoch.epoch for epoch in event.epochs]
    return found


def ends(events: Sequence[Event]) -> Counter[str]:
    """How often each trial has ended."""
    return Counter(event.trial for event in of_kind(events, "finished", "stopped", "failed"))


def with_changes(**changes: Any) -> Plan:
    """`PLAN` but for these."""
    return replace(PLAN, **changes)
