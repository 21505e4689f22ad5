"""What a search was asked to do, and on what: everything that another person needs to repeat it, as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from search.analysis.leaderboard import RecordedSearch
from search.analysis.page import table
from search.records.confirmations import seeds_of
from search.records.description import ranking_words, short_value
from search.records.events import Event, SearchResumed, SearchStarted
from search.records.plan import Plan
from search.strategy.schedulers import EVERY_EPOCH, SCHEDULERS, Ladder
from spaces.fields import Value, fields_of
from trainables.tasks import TASKS

_VERSIONS = ("dermtune", "python", "torch", "ray", "optuna", "mlflow", "numpy")


def asked_text(found: RecordedSearch, events: Sequence[Event]) -> str:
    """What was searched for and how, on which data and machines, over which fields and beside which fixed ones.

    Args:    found: the search.
             events: of its ledger.
    """
    plan = found.plan
    rows = [*_goal(found), *_strategy(plan), *_budget(plan), *_data(plan), *_where(found, events)]
    parts = ["## What was searched", table(("", ""), [row for row in rows if row[1]])]
    if plan.kind == "search":
        parts.append(_searched(plan))
    return "\n\n".join([*parts, _fixed(plan)])


def confirmed_text(found: RecordedSearch, events: Sequence[Event]) -> str:
    """Which configurations were confirmed, on which seeds, data and machines.

    Args:    found: the confirmation.
             events: of its ledger.
    Raises:  ValueError: when it is none.
    """
    plan, confirmation = found.plan, found.plan.confirmation
    if confirmation is None:
        raise ValueError(f"NAME must be a confirmation; got the search {plan.name}")
    seeds = seeds_of(plan)
    rows = [
        ("task", f"{plan.task}, preset {plan.preset}"),
        ("seeds", f"{seeds[0]} to {seeds[-1]}, the same for every configuration"),
        (
            "folds",
            f"{confirmation.num_folds}, of the training and validation cases together" if confirmation.num_folds > 1 else "",
        ),
        *_data(plan),
        *_where(found, events),
    ]
    paper = TASKS[plan.task].paper_values
    configs = {candidate.trial: candidate.config for candidate in confirmation.candidates}
    first, *others = configs.values()
    differ = [name for name in first if any(other[name] != first[name] for other in others)]
    parts = ["## What was trained", table(("", ""), [row for row in rows if row[1]])]
    if differ:
        cells = [(name, *(short_value(config[name]) for config in configs.values()), short_value(paper[name])) for name in differ]
        parts += ["**Hyperparameters in which they differ**", table(("field", *configs, "paper"), cells)]
    alike = {name: value for name, value in first.items() if name not in differ}
    shared = _beside_paper(plan, alike)
    return "\n\n".join([*parts, *(["**Hyperparameters that all of them share**"] if shared else []), *shared])


def _goal(found: RecordedSearch) -> list[tuple[str, str]]:
    plan = found.plan
    first, *further = plan.objectives
    rows = [("task", f"{plan.task}, preset {plan.preset}"), ("ranks trials", f"{ranking_words(plan)} ({first.mode})")]
    if further:
        rows.append(("searched for beside it", ", ".join(f"{objective.metric} ({objective.mode})" for objective in further)))
    ranked = found.state.ranked()
    for limit in plan.constraints:
        keep = sum(limit.excess(trial.best_metrics) <= 0 for trial in ranked)
        rows.append(("limit", f"{limit}: kept by {keep} of {len(ranked)} trials"))
    return rows


def _strategy(plan: Plan) -> list[tuple[str, str]]:
    if plan.kind != "search":
        return [("seed", str(plan.seed))]
    if plan.scheduler == "none":
        stopping = "none: nothing is stopped early"
    elif plan.scheduler in EVERY_EPOCH:
        stopping = f"{plan.scheduler}, from epoch {plan.grace_period} on after every epoch"
    else:
        found = SCHEDULERS[plan.scheduler](Ladder(plan.grace_period, plan.max_epochs, plan.reduction)).rungs
        levels = ", ".join(map(str, found)) or "none"
        stopping = f"{plan.scheduler}, grace period {plan.grace_period}, reduction {plan.reduction}: rungs at epochs {levels}"
    return [
        ("sampler", plan.sampler),
        ("scheduler", stopping),
        ("starts from", ", ".join(plan.warm_start)),
        ("seed", f"{plan.seed}; trial i trains with seed {plan.seed} + i"),
    ]


def _budget(plan: Plan) -> list[tuple[str, str]]:
    limits = [f"{plan.num_trials} trials of at most {plan.max_epochs} epochs"]
    limits += [f"{plan.time_budget_s:g} s"] if plan.time_budget_s is not None else []
    limits += [f"{plan.epoch_budget} epochs in all"] if plan.epoch_budget is not None else []
    limits += [f"{plan.gpu_hours:g} GPU-hours"] if plan.gpu_hours is not None else []
    limits += ["or when little more is to be expected"] if plan.terminate else []
    return [("budget", ", ".join(limits))]


def _data(plan: Plan) -> list[tuple[str, str]]:
    if plan.source is None:
        return [("data", "none")]
    cases = ", ".join(f"{count} {split}" for split, count in plan.num_cases.items())
    return [("data", plan.source), ("fingerprint of the data", plan.data_fingerprint), ("cases", cases or "not recorded")]


def _where(found: RecordedSearch, events: Iterable[Event]) -> list[tuple[str, str]]:
    """Versions and machines of every part of a search that was resumed; those of its trials."""
    plan = found.plan
    parts = [event.environment for event in events if isinstance(event, SearchStarted | SearchResumed)]
    told = list(dict.fromkeys(text for part in parts if (text := _versions(part))))
    drivers = list(dict.fromkeys(f"{part['host']} ({part['cpus']} CPUs)" for part in parts if "cpus" in part))
    machines = sorted({_machine(trial.where) for trial in found.state.trials.values() if trial.where})
    gpus = plan.gpus_per_trial
    share = f"CPUs: {plan.cpus_per_trial:g}, GPUs: {'as measured' if gpus is None else f'{gpus:.3g}'}"
    at_once = f", {plan.max_concurrent} at once" if plan.max_concurrent is not None else ""
    return [
        ("versions", "; then ".join(told) or "not recorded"),
        ("digest of dermtune's code", plan.code_version),
        ("driver", ", ".join(drivers)),
        ("trials ran on", ", ".join(machines)),
        ("each trial has", share + at_once),
    ]


def _versions(environment: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {environment[name]}" for name in _VERSIONS if name in environment)


def _machine(where: Mapping[str, Any]) -> str:
    kind = where.get("gpu") or where.get("device")
    return str(where.get("host", "?")) + (f" ({kind})" if kind else "")


def _searched(plan: Plan) -> str:
    """Every field that varies, over what range, and where the user has narrowed that."""
    own, paper = fields_of(TASKS[plan.task].space), TASKS[plan.task].paper_values
    rows = []
    for field in plan.searched:
        here, whole = field.range_text(), own[field.name].range_text()
        needs = " and ".join(f"{name}={'|'.join(map(short_value, values))}" for name, values in field.when.items())
        rows.append((field.name, here, "" if here == whole else whole, short_value(paper[field.name]), needs))
    if not rows:
        return "No field varies."
    return "**Searched**\n\n" + table(("field", "range here", "narrowed from", "paper", "only where"), rows)


def _fixed(plan: Plan) -> str:
    """The fixed fields that are not as the paper has them, by value; the others by name."""
    parts = _beside_paper(plan, plan.fixed)
    return "\n\n".join(["**Fixed**", *parts]) if parts else "No field is fixed."


def _beside_paper(plan: Plan, config: Mapping[str, Value]) -> list[str]:
    """Fields that are not as the paper has them, by value, and the names of the others; nothing of those without a value."""
    paper = TASKS[plan.task].paper_values
    told = {name: value for name, value in config.items() if value is not None}
    unlike = {name: value for name, value in told.items() if value != paper[name]}
    alike = [name for name in told if name not in unlike]
    parts = []
    if unlike:
        rows = [(name, f"**{short_value(value)}**", short_value(paper[name])) for name, value in unlike.items()]
        parts.append(table(("field", "here", "paper"), rows))
    if alike:
        parts.append(f"{'The others of these are' if unlike else 'All of these are'} the paper's: {', '.join(alike)}.")
    return parts
