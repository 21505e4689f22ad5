"""What an actor gets when it is to train a trial: the request, where to keep it, and its share of a node."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ray.tune import PlacementGroupFactory

from search.execution.slots import resources_of
from search.execution.worker_trial import KNOWN_EPOCH, SAVE_FIRST
from search.records.folder import SearchFolder
from search.records.plan import Plan
from search.strategy.packing import Packing
from search.strategy.suggestion import Suggestion
from trainables.contract import TrialRequest


@dataclass(frozen=True)
class Assignments:
    """Makes a trial actor's config from a suggestion.

    Args:    plan, folder: of the search.
             rungs: epochs with the objective in training after which a trial must report at once.
             packing: knows each trial's memory.
    """

    plan: Plan
    folder: SearchFolder
    rungs: Sequence[int]
    packing: Packing

    def of(self, suggestion: Suggestion) -> dict[str, Any]:
        """The config of one actor."""
        trial, plan = suggestion.trial, self.plan
        return {
            "search": plan.name,
            "trial": trial,
            "folder": str(self.folder.trial(trial)),
            "home": self.folder.home(trial),
            "request": self._request(suggestion).to_json(),
            "rungs": [rung + plan.delay_of(suggestion.config) for rung in self.rungs],
            "save_every_s": plan.save_every_s,
            "code_version": plan.code_version,
            KNOWN_EPOCH: suggestion.known_epoch,
            SAVE_FIRST: not self.packing.measured,
        }

    def resources(self, trial: str) -> PlacementGroupFactory:
        """What an actor needs of its node."""
        return PlacementGroupFactory([resources_of(self.plan.cpus_per_trial, self.packing.of(trial).share)])

    def _request(self, suggestion: Suggestion) -> TrialRequest:
        plan, memory = self.plan, self.packing.of(suggestion.trial)
        return TrialRequest(
            task=plan.task,
            config=suggestion.config,
            source=plan.source_of(suggestion.fold),
            seed=suggestion.seed,
            objective=plan.objective,
            max_epochs=suggestion.epochs or plan.max_epochs,
            device="auto" if memory.share else "cpu",
            num_threads=max(1, int(plan.cpus_per_trial)),
            only_last_epoch=plan.confirmation is not None,
            fingerprint=plan.data_fingerprint if suggestion.fold is None else "",
            gpu_share=memory.share,
            batch_parts=memory.batch_parts,
            delay=plan.delay_of(suggestion.config),
        )
