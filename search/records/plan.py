"""The plan of a search: everything that was asked for, resolved, as one JSON document."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from spaces.fields import Value
from trainables.contract import Objective


@dataclass(frozen=True)
class Plan:
    """A search as it will run.

    Args:    name: of the search, its folder and its MLflow experiment.
             task: a key of `TASKS`.
             source: `FORMAT:PATH` with an absolute path, None for a task without data.
             preset: "demo" or "paper".
             fixed: fields that are not searched and their values; the fields of no search and of `--set`.
             objective: metric and mode: what ranks trials, stops them early and picks their epochs.
             further_objectives: the others of a multi-objective search, told to the sampler when a trial ends.
             num_trials, max_epochs: how much.
             time_budget_s, epoch_budget: no trial starts or goes on past them; None for no limit.
             sampler, scheduler: keys of `SAMPLERS` and `SCHEDULERS`.
             grace_period: epochs before a trial may be stopped.
             reduction: one in so many trials passes a rung.
             cpus_per_trial, gpus_per_trial: Ray resources of one trial; None until the cluster's GPUs are known.
             max_concurrent: trials at once; None for what fits.
             seed: of the sampler; trial i trains with seed + i.
             keep_checkpoints: best checkpoints kept.
             data_fingerprint: of labels, splits and image contents.
             code_version: digest of dermtune's own sources.
             created: local time with zone, ISO 8601.
             notes: what the user should know of the data, a line each.
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
    seed: int = 0
    keep_checkpoints: int = 5
    time_budget_s: float | None = None
    epoch_budget: int | None = None
    data_fingerprint: str = ""
    code_version: str = ""
    created: str = ""
    further_objectives: tuple[Objective, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """All objectives, the one that ranks first."""
        return (self.objective, *self.further_objectives)

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return asdict(self)

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> "Plan":
        """A plan from what `to_json` gave."""
        further = tuple(Objective(**objective) for objective in document["further_objectives"])
        restored = {"objective": Objective(**document["objective"]), "further_objectives": further}
        return Plan(**{**document, **restored, "notes": tuple(document["notes"])})

    def dumps(self) -> str:
        """The plan as text."""
        return json.dumps(self.to_json(), indent=1) + "\n"
