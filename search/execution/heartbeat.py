"""Ends the processes of trials that have fallen silent: what they last said may be lost, and Ray would wait for ever."""

import time

import ray
from ray.tune.experiment import Trial

from search.strategy.heartbeat import Watchdog
from search.strategy.retries import Failure

#: Seconds between two looks.
_LOOK_EVERY_S = 1.0


class Heartbeat:
    """Follows all of Tune's trials."""

    def __init__(self) -> None:
        self._watchdog, self._silent_s = Watchdog(), dict[str, float]()
        self._trials: dict[str, Trial] = {}
        self._looked_at = 0.0

    def follow(self, trial: Trial) -> None:
        """A trial that will be given an actor."""
        self._trials[trial.trial_id] = trial

    def broken_by(self, name: str) -> None:
        """A trial has given a sign of life."""
        self._watchdog.reported(name)

    def be_patient(self, name: str) -> None:
        """A trial may take as long for its next sign of life as for its first."""
        self._watchdog.forget(name)

    def excuse(self) -> None:
        """Nobody could be heard for a while, through no fault of theirs."""
        self._watchdog = Watchdog()

    def cause(self, name: str, failure: Failure) -> Failure:
        """Why a trial failed: the silence for which it was ended, or what Ray says."""
        silent_s = self._silent_s.pop(name, None)
        if silent_s is None:
            return failure
        return Failure("hung", f"Hung: nothing was heard of the trial for {silent_s:.0f} s", failure.trace)

    def end_silent(self) -> None:
        """Kills the actors of those that have been silent for too long."""
        if time.monotonic() - self._looked_at < _LOOK_EVERY_S:
            return
        self._looked_at = time.monotonic()
        for name, trial in list(self._trials.items()):
            if trial.status == Trial.RUNNING:
                self._watchdog.watch(name)
            else:
                self._watchdog.forget(name)
            if trial.status in (Trial.TERMINATED, Trial.ERROR):
                del self._trials[name]
        for name, silent_s in self._watchdog.silent().items():
            actor = self._trials[name].temporary_state.ray_actor
            if actor is not None:
                self._silent_s[name] = silent_s
                self._watchdog.forget(name)
                ray.kill(actor)
