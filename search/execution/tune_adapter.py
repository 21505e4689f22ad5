"""Ray Tune's searcher and scheduler interfaces, both answered by the bridge."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.tune.experiment import Experiment, Trial
from ray.tune.experiment.config_parser import _create_trial_from_spec, _make_parser
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import SearchAlgorithm

from search.records.failure import failure_reason
from search.strategy.bridge import Bridge, Suggestion


@dataclass(frozen=True)
class Assignments:
    """Makes a trial actor's config from a suggestion.

    Args:    folder_of: trial id → its folder.
             make: suggestion → request, as JSON-like values.
             common: what every actor gets.
    """

    folder_of: Callable[[str], Path]
    make: Callable[[Suggestion], Any]
    common: Mapping[str, Any]

    def of(self, suggestion: Suggestion) -> dict[str, Any]:
        """The config of one actor."""
        return {**self.common, "request": self.make(suggestion), "folder": str(self.folder_of(suggestion.trial))}


class TrialSource(SearchAlgorithm):  # type: ignore[misc]
    """Hands the bridge's suggestions to Tune as trials that bear the bridge's ids.

    Args:    bridge: asked for the next trial.
             assignments: suggestion → actor config.
             end_now: why no further trial may start ("time budget", "stop requested"), None while one may.
    """

    def __init__(self, bridge: Bridge, assignments: Assignments, end_now: Callable[[], str | None]) -> None:
        self._bridge, self._assignments, self._end_now = bridge, assignments, end_now
        self._experiment: Experiment | None = None
        self._parser = _make_parser()

    @property
    def total_samples(self) -> int:
        """Trials at most."""
        return self._bridge.plan.num_trials

    def add_configurations(self, experiments: Any) -> None:
        """Takes the one experiment that Tune runs."""
        (self._experiment,) = experiments if isinstance(experiments, list) else [experiments]

    def next_trial(self) -> Trial | None:
        """A new trial while there is room for one."""
        room = self._bridge.num_running < (self._bridge.plan.max_concurrent or 1)
        if self._experiment is None or not room or self.is_finished():
            return None
        suggestion = self._bridge.ask()
        spec = {**self._experiment.spec, "config": self._assignments.of(suggestion)}
        return _create_trial_from_spec(spec, self._parser, trial_id=suggestion.trial, experiment_tag=suggestion.trial)

    def is_finished(self) -> bool:
        """Whether the last trial has been handed out."""
        return bool(self._finished) or self._bridge.exhausted or self._end_now() is not None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles this for a restore of its own, and ours reads the ledger."""
        return {}


class BridgeScheduler(FIFOScheduler):  # type: ignore[misc]
    """Passes every report on and does what the bridge decides.

    A trial never reports `done`: Tune would not show the scheduler such a report. It says why it ended, and the answer is
    STOP.

    Args:    bridge: hears and decides.
             folder_of: trial id → its folder.
             end_now: why every trial must end ("time budget", "stop requested"), None while none must.
    """

    def __init__(self, bridge: Bridge, folder_of: Callable[[str], Path], end_now: Callable[[], str | None]) -> None:
        super().__init__()
        self._bridge, self._folder_of, self._end_now = bridge, folder_of, end_now
        self._started: set[str] = set()

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """CONTINUE or STOP."""
        name = trial.trial_id
        if name not in self._started:
            self._started.add(name)
            self._bridge.start(name, _below(result, "where"), result["notes"])
        checkpoint = _below(result, "checkpoint")
        over = self._bridge.report(name, result["epochs"], result["ended"], checkpoint or None, result["state"])
        reason = None if over else self._end_now()
        if reason is not None:
            self._bridge.stop(name, reason)
            over = True
        return str(TrialScheduler.STOP if over else TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """A trial that broke for good."""
        self._bridge.fail(trial.trial_id, failure_reason(self._folder_of(trial.trial_id)))

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles this for a restore of its own, and ours reads the ledger."""
        return {}


def _below(flat: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """A nested object that Tune has flattened to `prefix/key`."""
    start = f"{prefix}/"
    return {key.removeprefix(start): value for key, value in flat.items() if key.startswith(start)}
