"""The plan of a search: everything that was asked for, resolved, as one JSON document."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from search.records.constraints import Constraint
from spaces.delays import delay_of
from spaces.fields import Field, Value, fields_of, narrowed
from spaces.offers import offered
from spaces.papers import paper_config
from trainables.contract import Objective
from trainables.tasks import TASKS


@dataclass(frozen=True)
class Candidate:
    """A configuration to confirm.

    Args:    trial: that found it.
             config: every field of the space.
             epoch: it is trained to, the trial's best; nothing is chosen again.
             claimed: the metric at that epoch in the search.
    """

    trial: str
    config: Mapping[str, Value]
    epoch: int
    claimed: float


@dataclass(frozen=True)
class Confirmation:
    """What is confirmed.

    Args:    search: whose best configurations these are.
             candidates: best first.
             num_seeds: fresh seeds of each candidate on each fold.
             num_folds: stratified splits of the training and validation cases; 1 for the data's own split.
    """

    search: str
    candidates: tuple[Candidate, ...]
    num_seeds: int
    num_folds: int

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> "Confirmation":
        """What `asdict` made JSON values of."""
        return Confirmation(**{**document, "candidates": tuple(Candidate(**entry) for entry in document["candidates"])})


@dataclass(frozen=True)
class Experiment:
    """A configuration that a paper names.

    Args:    name: the paper's.
             config: every field of the space.
    """

    name: str
    config: Mapping[str, Value]


@dataclass(frozen=True)
class Reproduction:
    """What is reproduced: every experiment on every seed, by the paper's rules; nothing is pruned.

    Args:    experiments: in the paper's order.
             num_seeds: runs of each; run i of every one has the same seed.
    """

    experiments: tuple[Experiment, ...]
    num_seeds: int

    def experiment_of(self, trial: str) -> Experiment:
        """The experiment that a trial is a run of: all of them run on the first seed, then all on the next."""
        return self.experiments[trial_number(trial) % len(self.experiments)]

    def seed_index(self, trial: str) -> int:
        """Which of the seeds a trial runs on, from 0."""
        return trial_number(trial) // len(self.experiments)

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> "Reproduction":
        """What `asdict` made JSON values of."""
        return Reproduction(tuple(Experiment(**entry) for entry in document["experiments"]), document["num_seeds"])


def trial_number(trial: str) -> int:
    """The number in the id of a search's or a reproduction's trial, from 0."""
    return int(trial.removeprefix("t"))


@dataclass(frozen=True)
class Plan:
    """A search as it will run.

    Args:    name: of the search, its folder and its MLflow experiment.
             task: a key of `TASKS`.
             source: `FORMAT:LOCATION` with an absolute path or a URI, None for a task without data.
             preset: "demo" or "paper".
             fixed: fields that are not searched and their values; the fields of no search and of `--set`.
             objective: metric and mode: what ranks trials, stops them early and picks their epochs.
             further_objectives: the others of a multi-objective search, told to the sampler when a trial ends.
             num_trials, max_epochs: how much.
             time_budget_s, epoch_budget: no trial starts or goes on past them; None for no limit.
             sampler, scheduler: keys of `SAMPLERS` and `SCHEDULERS`.
             grace_period: epochs before a trial may be stopped.
             reduction: one in so many trials passes a rung.
             cpus_per_trial, gpus_per_trial: Ray resources of one trial; None for what the first trial is measured to need.
             max_concurrent: trials at once; None for what fits. Where several train as one program, such workers at once.
             fuse_trials: trials of one program at most, 1 for a process each, None for as many as are measured to pay.
             seed: of the sampler; trial i trains with seed + i.
             keep_checkpoints: best checkpoints kept.
             data_fingerprint: of labels, splits, groups and image contents.
             num_cases: split → cases; empty where there are no data, or an earlier version wrote the plan.
             code_version: digest of dermtune's own sources.
             created: local time with zone, ISO 8601.
             notes: what the user should know of the data, a line each.
             search_notes: the same of what is searched: narrowed ranges, what ranks, who trains together.
             space: field → range of those that the user narrowed, as the command line writes ranges.
             case_limits: field → range of those whose upper end follows the number of training cases; `space` wins.
             constraints: limits that the best trial must keep.
             gpu_hours: no trial goes on past so many hours of a whole GPU; None for no limit.
             warm_start: names of earlier searches whose trials the sampler learns from.
             terminate: whether the search ends when little more is to be expected of it.
             confirmation: what is confirmed, None unless this is a confirmation.
             reproduction: what is reproduced, None unless this is a reproduction.
             save_every_s: a running trial can go on from a state at most so old, and from every rung.
    """

    name: str
    task: str
    source: str | None
    preset: str
    fixed: Mapping[str, Value]
    objective: Objective
    num_trials: int
    max_epochs: int
    sampler: str = "tpe"
    scheduler: str = "asha"
    grace_period: int = 1
    reduction: int = 3
    cpus_per_trial: float = 1.0
    gpus_per_trial: float | None = None
    max_concurrent: int | None = None
    fuse_trials: int | None = 1
    seed: int = 0
    keep_checkpoints: int = 5
    time_budget_s: float | None = None
    epoch_budget: int | None = None
    data_fingerprint: str = ""
    num_cases: Mapping[str, int] = field(default_factory=dict)
    code_version: str = ""
    created: str = ""
    further_objectives: tuple[Objective, ...] = ()
    notes: tuple[str, ...] = ()
    search_notes: tuple[str, ...] = ()
    space: Mapping[str, str] = field(default_factory=dict)
    case_limits: Mapping[str, str] = field(default_factory=dict)
    constraints: tuple[Constraint, ...] = ()
    gpu_hours: float | None = None
    warm_start: tuple[str, ...] = ()
    terminate: bool = False
    confirmation: Confirmation | None = None
    reproduction: Reproduction | None = None
    save_every_s: float = 30.0

    @property
    def kind(self) -> Literal["search", "confirmation", "reproduction"]:
        """What this plans; only a search chooses what to try."""
        if self.confirmation is not None:
            return "confirmation"
        return "search" if self.reproduction is None else "reproduction"

    @property
    def ranked_by(self) -> Literal["score", "value"]:
        """What orders its trials: means over validations in a search, the metric itself where no epoch is chosen by them."""
        return "score" if self.kind == "search" else "value"

    @property
    def fields(self) -> dict[str, Field]:
        """Every field of the task's space, narrowed by the user and by the data, with what is offered beside the fixed ones."""
        return offered(narrowed(fields_of(TASKS[self.task].space), {**self.case_limits, **self.space}), self.fixed)

    @property
    def searched(self) -> list[Field]:
        """The fields that vary: those not fixed."""
        return [found for name, found in self.fields.items() if name not in self.fixed]

    @property
    def paper_config(self) -> dict[str, Value]:
        """The first trial's: the paper's configuration, as far as fixed and narrowed fields leave it."""
        return paper_config(self.fields, self.fixed)

    @property
    def all_notes(self) -> tuple[str, ...]:
        """Of the data, then of the search."""
        return (*self.notes, *self.search_notes)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """All objectives, the one that ranks first."""
        return (self.objective, *self.further_objectives)

    def delay_of(self, config: Mapping[str, Value]) -> int:
        """Epochs at the beginning of a trial in which what ranks it is not trained: rungs and scores count from there."""
        return delay_of(fields_of(TASKS[self.task].space), config, self.objective.metric)

    def source_of(self, fold: int | None) -> str | None:
        """The data of a trial: all of it, or one fold of a confirmation over several splits."""
        if self.source is None or self.confirmation is None or fold is None:
            return self.source
        return f"{self.source}#fold={fold}/{self.confirmation.num_folds}"

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return asdict(self)

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> "Plan":
        """A plan from what `to_json` gave."""
        further = tuple(Objective(**objective) for objective in document["further_objectives"])
        restored = {
            "objective": Objective(**document["objective"]),
            "further_objectives": further,
            "constraints": tuple(Constraint(**constraint) for constraint in document["constraints"]),
            "confirmation": document["confirmation"] and Confirmation.from_json(document["confirmation"]),
            "reproduction": document.get("reproduction") and Reproduction.from_json(document["reproduction"]),
        }
        return Plan(
            **{**document, **restored, **{name: tuple(document[name]) for name in ("notes", "search_notes", "warm_start")}}
        )

    def dumps(self) -> str:
        """The plan as text."""
        return json.dumps(self.to_json(), indent=1) + "\n"


#: Names of a plan's fields; those that a `SearchSpec` has, too, are taken over as they are where nothing is to be resolved.
PLANNED = frozenset(each.name for each in fields(Plan))
