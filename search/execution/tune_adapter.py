"""Ray Tune's searcher, scheduler and callback interfaces, all answered by the conductor."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Experiment, Trial
from ray.tune.experiment.config_parser import _create_trial_from_spec, _make_parser
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import SearchAlgorithm

from search.execution.actor import KNOWN_EPOCH
from search.records.failure import failure_reason
from search.records.tune_record import TuneRecord
from search.strategy.conductor import Conductor, Suggestion


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
        folder = str(self.folder_of(suggestion.trial))
        return {**self.common, "request": self.make(suggestion), "folder": folder, KNOWN_EPOCH: suggestion.known_epoch}


class TrialSource(SearchAlgorithm):  # type: ignore[misc]
    """Hands the conductor's suggestions to Tune as trials that bear its ids; promotes those that Tune has paused.

    Args:    conductor: asked for the next trial.
             assignments: suggestion → actor config.
             end_now: why no further trial may start ("time budget", "stop requested"), None while one may.
    """

    def __init__(self, conductor: Conductor, assignments: Assignments, end_now: Callable[[], str | None]) -> None:
        self._conductor, self._assignments, self._end_now = conductor, assignments, end_now
        self._experiment: Experiment | None = None
        self._parser = _make_parser()
        self._known: set[str] = set()
        #: Paused trials that must go on, in order.
        self.promoted: deque[str] = deque()

    @property
    def total_samples(self) -> int:
        """Trials at most."""
        return self._conductor.plan.num_trials

    def add_configurations(self, experiments: Any) -> None:
        """Takes the one experiment that Tune runs."""
        (self._experiment,) = experiments if isinstance(experiments, list) else [experiments]

    def next_trial(self) -> Trial | None:
        """A new trial while there is room for one."""
        room = self._conductor.num_running < (self._conductor.plan.max_concurrent or 1)
        if self._experiment is None or not room or self.is_finished():
            return None
        suggestion = self._conductor.next()
        if suggestion is None:
            return None
        if suggestion.trial in self._known:
            self.promoted.append(suggestion.trial)
            return None
        self._known.add(suggestion.trial)
        spec = {**self._experiment.spec, "config": self._assignments.of(suggestion)}
        return _create_trial_from_spec(spec, self._parser, trial_id=suggestion.trial, experiment_tag=suggestion.trial)

    def is_finished(self) -> bool:
        """Whether the last trial has been handed out."""
        return bool(self._finished) or self._conductor.exhausted or self._end_now() is not None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles this for a restore of its own, and ours reads the ledger."""
        return {}


class ConductedScheduler(FIFOScheduler):  # type: ignore[misc]
    """Passes every report on and does what the conductor decides.

    A trial never reports `done`: Tune would not show the scheduler such a report. It says why it ended, and the answer is
    STOP.

    Args:    conductor: hears and decides.
             source: knows which paused trials go on.
             folder_of: trial id → its folder.
             end_now: why every trial must end ("time budget", "stop requested"), None while none must.
    """

    def __init__(
        self,
        conductor: Conductor,
        source: TrialSource,
        folder_of: Callable[[str], Path],
        end_now: Callable[[], str | None],
    ) -> None:
        super().__init__()
        self._conductor, self._source, self._folder_of, self._end_now = conductor, source, folder_of, end_now
        self._started: set[str] = set()
        self._paused: dict[str, Trial] = {}

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """CONTINUE, PAUSE or STOP."""
        name = trial.trial_id
        if name not in self._started:
            self._started.add(name)
            self._conductor.start(name, _below(result, "where"), result["notes"])
        checkpoint = _below(result, "checkpoint")
        over = self._conductor.report(name, result["epochs"], result["ended"], checkpoint or None, result["state"])
        if self._conductor.is_paused(name):
            self._paused[name] = trial
            return str(TrialScheduler.PAUSE)
        reason = None if over else self._end_now()
        if reason is not None:
            self._conductor.stop(name, reason)
            over = True
        return str(TrialScheduler.STOP if over else TrialScheduler.CONTINUE)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The next paused trial that must go on. Those that never will are ended, or Tune would wait for them.

        Tune starts new trials by itself.
        """
        if self._paused and (self._conductor.exhausted or self._end_now() is not None):
            self._conductor.settle()
            for name in [name for name in self._paused if name not in self._source.promoted]:
                if self._paused[name].status == Trial.PAUSED:
                    tune_controller.stop_trial(self._paused.pop(name))
        if self._source.promoted and self._paused[self._source.promoted[0]].status == Trial.PAUSED:
            trial = self._paused.pop(self._source.promoted.popleft())
            trial.config[KNOWN_EPOCH] = self._conductor.records[trial.trial_id].last_epoch
            return trial
        return None

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """A trial that broke for good."""
        self._conductor.fail(trial.trial_id, failure_reason(self._folder_of(trial.trial_id)))

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles this for a restore of its own, and ours reads the ledger."""
        return {}


class TuneWitness(Callback):  # type: ignore[misc]
    """Writes down what becomes of each trial as Tune itself sees it, for `dermtune doctor`.

    Args:    record: where.
    """

    def __init__(self, record: TuneRecord) -> None:
        self._record = record

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Its actor has been given the trial."""
        self._record.write(trial.trial_id, str(Trial.RUNNING))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Tune has ended it."""
        self._record.write(trial.trial_id, str(Trial.TERMINATED))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Its actor broke."""
        self._record.write(trial.trial_id, str(Trial.ERROR))

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles this for a restore of its own, and ours reads the ledger."""
        return {}


def _below(flat: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """A nested object that Tune has flattened to `prefix/key`."""
    start = f"{prefix}/"
    return {key.removeprefix(start): value for key, value in flat.items() if key.startswith(start)}
