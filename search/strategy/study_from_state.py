"""The Optuna study that a ledger tells of, made anew: for optuna-dashboard, for `doctor`, for a result."""

import math
from datetime import datetime

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.records.plan import Plan
from search.records.state import SearchState
from search.records.study import FAR_BEYOND, REASON_ATTRIBUTE, TRIAL_ATTRIBUTE, new_study
from search.records.trials import TrialRecord
from search.strategy.distributions import distribution_of

_STATES = {"finished": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}


def study_of(plan: Plan, state: SearchState) -> optuna.Study:
    """A study in memory with every trial; one that has not ended is told as failed, with where it stands.

    Args:    plan: of the search.
             state: its trials.
    """
    study = new_study(plan.name, plan.objectives, optuna.samplers.RandomSampler())
    study.add_trials([_frozen(plan, record) for record in state.trials.values()])
    return study


def _frozen(plan: Plan, record: TrialRecord) -> FrozenTrial:
    fields = {field.name: field for field in plan.searched}
    params = {name: record.config[name] for name in fields if record.config[name] is not None}
    state = _STATES.get(record.state, TrialState.FAIL)
    scores = record.scores(plan.objectives) if state == TrialState.COMPLETE else None
    delay = plan.delay_of(record.config)
    counted = [] if plan.further_objectives else [epoch for epoch in record.epochs if epoch.epoch > delay]
    steps = {epoch.epoch - delay: epoch.score for epoch in counted}
    if state == TrialState.PRUNED and steps:
        scores = (steps[max(steps)],)  # as Optuna has it: a pruned trial's value is the last one reported
    limits = {str(limit): min(limit.excess(record.best_metrics), FAR_BEYOND) for limit in plan.constraints}
    trial = create_trial(
        state=state,
        values=None if scores is None else list(scores),
        params=params,
        distributions={name: distribution_of(fields[name]) for name in params},
        user_attrs={TRIAL_ATTRIBUTE: record.trial, REASON_ATTRIBUTE: record.reason or record.state},
        constraints=limits if record.best_metrics else None,
        intermediate_values={step: value for step, value in steps.items() if math.isfinite(value)},
    )
    trial.datetime_start, trial.datetime_complete = _times(record)
    return trial


def _times(record: TrialRecord) -> tuple[datetime, datetime]:
    """When a trial began and ended, as Optuna has it: local time without a zone; one under way ends where it was last heard of.

    Optuna would say when the study was written.
    """
    heard = [epoch.time or "" for epoch in record.epochs[-1:]]
    found = [datetime.fromisoformat(time) for time in (record.suggested, record.ended or max([record.suggested, *heard]))]
    begin, end = (time.astimezone().replace(tzinfo=None) for time in found)
    return begin, max(begin, end)
