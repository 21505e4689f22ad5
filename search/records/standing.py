"""Where a search stands, for people: what a score is the mean of, who cannot be told apart, what failed, what has been gained."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from search.records.plan import Plan
from search.records.state import SearchState
from search.records.trials import TrialRecord
from spaces.fields import Value, fields_of
from spaces.papers import settings_beside
from trainables.contract import SCORE_WINDOW
from trainables.tasks import TASKS

_COUNTS = {2: "two", 3: "three"}
#: Settings that are named one by one.
_NAMED = 6


def mean_of(window: int) -> str:
    """What a score over so many validations is."""
    if window == 0:
        return "one from epochs in which the objective was not trained yet"
    return "one validation, not a mean" if window == 1 else f"the mean of {_COUNTS[window]} validations"


def score_words(trial: TrialRecord) -> str:
    """What a trial's score is, with the epochs that are in it."""
    if trial.best_window < 2:
        return mean_of(trial.best_window)
    return f"{mean_of(trial.best_window)}, epochs {trial.score_epoch - trial.best_window + 1} to {trial.score_epoch}"


def ranking_note(max_epochs: int) -> tuple[str, ...]:
    """What ranks the trials of a search too short for means of three validations."""
    if max_epochs >= SCORE_WINDOW:
        return ()
    return (
        f"a score is {mean_of(max_epochs)} here, as trials have no more (from --max-epochs {SCORE_WINDOW} on it is"
        f" {mean_of(SCORE_WINDOW)})",
    )


def reported(state: SearchState) -> list[TrialRecord]:
    """The trials that have a score, those among them that failed later as well."""
    return [trial for trial in state.trials.values() if trial.score is not None]


def by_value(plan: Plan, trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Those of some trials that have a value of the metric, the best one first."""
    valued = [trial for trial in trials if trial.value is not None]
    return sorted(valued, key=lambda trial: plan.objective.sign * float(trial.value or 0.0), reverse=True)


def tied_with(state: SearchState, trial: TrialRecord) -> list[TrialRecord]:
    """All trials whose score is a given one's, itself included, in the order in which they were suggested."""
    rivals = (t for t in state.trials.values() if t.score == trial.score and t.state != "failed")
    return [t for t in rivals if t.best_window == trial.best_window and not t.excess(state.constraints)]


def is_constant(state: SearchState) -> bool:
    """Whether several trials have reported and nothing distinguishes them: every score is the same."""
    scores = [trial.score for trial in reported(state) if trial.state != "failed"]
    return len(scores) > 1 and len(set(scores)) == 1


@dataclass(frozen=True)
class FailureReason:
    """Why some trials failed.

    Args:    text: one of them says.
             trials: those that say the same but for numbers.
    """

    text: str
    trials: Sequence[str]


def failure_reasons(state: SearchState) -> list[FailureReason]:
    """Why trials have failed, the most frequent reason first."""
    found: dict[str, list[TrialRecord]] = defaultdict(list)
    for trial in state.trials.values():
        if trial.state == "failed":
            found[kind_of(trial.reason or "")].append(trial)
    kinds = sorted(found.values(), key=len, reverse=True)
    return [FailureReason(trials[0].reason or "no reason given", [trial.trial for trial in trials]) for trials in kinds]


def kind_of(reason: str) -> str:
    """A reason without its numbers: the same fault names other addresses and epochs each time."""
    return re.sub(r"\d+(\.\d+)?", "0", reason)


def why_none(plan: Plan, state: SearchState) -> str:
    """Why a search has no best trial, in a sentence.

    Args:    plan, state: of a search whose `state.best` is None.
    """
    trials, scored = len(state.trials), len(reported(state))
    if state.leader is not None:
        return _beyond_limits(plan, state.leader, scored, trials)
    reasons = failure_reasons(state)
    if not reasons:
        return f"no trial reported anything: {trials} begun, none validated"
    first = reasons[0]
    failed = state.count("failed")
    others = f" and {len(reasons) - 1} other reason{'s' * (len(reasons) > 2)}" if len(reasons) > 1 else ""
    share = f"all {trials}" if failed == trials and trials > 1 else f"{failed} of {trials}"
    same = ", for the same reason" if len(reasons) == 1 and failed > 1 else f", {len(first.trials)} of them for the same reason"
    return f"{share} trials failed{same}{others}: {first.text}"


def _beyond_limits(plan: Plan, nearest: TrialRecord, scored: int, trials: int) -> str:
    broken = [limit for limit in plan.constraints if limit.excess(nearest.best_metrics) > 0]
    known = nearest.best_metrics
    figures = ", ".join(f"{o.metric} {known[o.metric]:.6g}" if o.metric in known else f"no {o.metric}" for o in broken)
    limits = ", ".join(map(str, plan.constraints))
    whole = f"all limits ({limits})" if len(plan.constraints) > 1 else f"the limit {limits}"
    return (
        f"{scored} of {trials} trials reported, and none keeps {whole}; the nearest is {nearest.trial} with {figures},"
        f" score {nearest.score:.4f} (--constraint)"
    )


def paper_label(settings: Sequence[str]) -> str:
    """What the paper's configuration is called beside these settings."""
    if not settings:
        return "the paper's configuration"
    more = f" and {len(settings) - _NAMED} more" if len(settings) > _NAMED else ""
    return f"the paper's configuration with this search's settings ({', '.join(settings[:_NAMED])}{more})"


@dataclass(frozen=True)
class Baseline:
    """The paper's configuration among the trials of a search, and what the best one has over it.

    Args:    trial: the paper's.
             settings: `FIELD=VALUE` of what the search has set otherwise than the paper.
             best: of the search, None when there is none.
             sign: 1 when more of the metric is better, else -1.
    """

    trial: TrialRecord
    settings: Sequence[str]
    best: TrialRecord | None
    sign: int

    @property
    def label(self) -> str:
        """What this configuration may be called."""
        return paper_label(self.settings)

    @property
    def gain(self) -> float | None:
        """By how much the best trial's score is better, 0 where the best is this one; None where they do not compare."""
        best = self.best
        if best is None or best.score is None or self.trial.score is None or self.trial.state == "failed":
            return None
        return self.sign * (best.score - self.trial.score) if best.best_window == self.trial.best_window else None

    def sentences(self, name: str, confirmed: Mapping[str, Any] | None = None) -> list[str]:
        """What the best trial has over this one, and how far that can be trusted.

        Args:    name: of the search.
                 confirmed: what a confirmation says of it: `name`, `winner`, `gain`, `interval`; None when there is none.
        """
        trial, best, gain = self.trial, self.best, self.gain
        first = f"{trial.trial} is {self.label}"
        if trial.state == "failed":
            return [f"{first}; it failed ({trial.reason}), so that there is no gain to be named"]
        if gain is None or best is None:
            return [f"{first}; no gain can be named until both have a score over as many validations"]
        if best is trial:
            return [f"{first}: no trial has a better score"]
        scores = f"({best.score:.4f}, {trial.score:.4f})"
        found = (
            f"{first}; the score of {best.trial} is better by {gain:.4f} {scores}" if gain else f"{first}; {best.trial} equals it"
        )
        if confirmed is None:
            return [
                f"{found}: one training of each cannot tell whether that is more than luck, and the best was chosen for it;"
                f" dermtune confirm {name} gives the interval"
            ]
        return [found, f"on fresh seeds {_confirmed_gain(trial.trial, confirmed)} ({confirmed['name']})"]

    def to_json(self) -> dict[str, Any]:
        """The keys that documents about a search have of it."""
        return {"paper_trial": self.trial.trial, "paper_settings": list(self.settings), "gain": self.gain}


def _confirmed_gain(paper: str, confirmed: Mapping[str, Any]) -> str:
    """What a confirmation says of its best mean and the paper's configuration; "better" only where the interval does."""
    leader, gain, interval = confirmed["winner"], confirmed["gain"], confirmed["interval"]
    if interval is None:
        return f"the mean of {leader} less that of {paper} is {gain:.4f}; there is no interval, and neither is known to be better"
    spread = f"[{interval[0]:.4f}, {interval[1]:.4f}] at 95 %"
    if interval[0] > 0:
        return f"{leader} is better than {paper} by {gain:.4f} {spread}"
    if interval[1] < 0:
        return f"{paper} did better than {leader} by {-gain:.4f} where it ran, {leader} less {paper} being in {spread}"
    return f"{leader} cannot be told from {paper}: the gain is {gain:.4f} {spread}, which contains 0"


#: What they have where there is none.
NO_BASELINE: dict[str, Any] = {"paper_trial": None, "paper_settings": [], "gain": None}


def paper_settings(plan: Plan, config: Mapping[str, Value]) -> list[str] | None:
    """What a search has set otherwise than the paper, if a configuration is the paper's but for that; None if it is not."""
    if plan.kind != "search" or dict(config) != plan.paper_config:
        return None
    task = TASKS[plan.task]
    epochs = [f"max_epochs={plan.max_epochs}"] if plan.max_epochs < task.presets["paper"].reproduced_epochs else []
    return [*epochs, *settings_beside(fields_of(task.space), task.paper_rules, config)]


def baseline_of(plan: Plan, state: SearchState) -> Baseline | None:
    """The first trial of a search that has the paper's configuration, as far as the settings leave it; None if there is none."""
    if plan.kind != "search":
        return None
    paper = plan.paper_config
    found = next((trial for trial in state.trials.values() if dict(trial.config) == paper), None)
    settings = None if found is None else paper_settings(plan, found.config)
    return None if found is None or settings is None else Baseline(found, settings, state.best, plan.objective.sign)
