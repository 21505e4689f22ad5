"""The worker that trains trials, as a Tune trainable: one process, one trial or several that come and go."""

import time
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from ray import tune

from search.execution import worker_trial
from search.execution.failures import broken
from search.execution.worker_trial import WorkerProcess, WorkerTrial
from trainables.contract import EpochReport
from trainables.errors import TrialDiverged
from trainables.tasks import TASKS, FusedModule

#: Keys of a worker's config: its id, the task, whether trials may be fused, and an assignment for each trial.
WORKER, TASK, FUSED, TRIALS = "worker", "task", "fused", "trials"
_NOTE = "trained as one program with other trials (--fuse-trials): the same arithmetic, rounded otherwise"


class TrialWorker(tune.Trainable):  # type: ignore[misc]
    """Steps its trials together and reports each by its id. What fails in one of them alone ends no other."""

    def setup(self, config: dict[str, Any]) -> None:
        """Takes the first trials; they are built by the first step, so that their faults are their own."""
        self._process, self._trials = WorkerProcess(), dict[str, WorkerTrial]()
        self._assign(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes other trials; nothing of those before is kept but imported code and mapped data."""
        self._assign(new_config)
        return True

    def _assign(self, config: dict[str, Any]) -> None:
        self.cleanup()
        self._fused: FusedModule | None = TASKS[config[TASK]].load_fused() if config[FUSED] else None
        self._trials = {assignment["trial"]: WorkerTrial(assignment) for assignment in config[TRIALS]}
        self._leaving, self._joining = list[str](), list[dict[str, Any]]()

    def update(self, leaving: list[str], joining: list[dict[str, Any]]) -> None:
        """Which trials leave, and assignments of those that join, in their places first.

        It is only taken note of here, since nobody hears what goes wrong now; the next step does it.
        """
        self._leaving, self._joining = leaving, joining

    def cleanup(self) -> None:
        """The process ends."""
        for trial in self._trials.values():
            trial.forget()

    def step(self) -> dict[str, Any]:
        """Trains epochs until something must be reported of a trial; one report carries all epochs of all."""
        try:
            self._change()
            return {TRIALS: self._train(self._build())}
        except Exception as error:  # noqa: BLE001 - whatever it is, the driver is to be told
            # The message must reach the driver without unpickling anything that a trial made.
            raise broken(error) from None

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: states lie in the trials' folders, which every node reaches; Tune's own checkpoints are not asked for."""

    def load_checkpoint(self, checkpoint: str) -> None:
        """Nothing: each trial goes on from the newest state in its folder."""

    def _change(self) -> None:
        """A trial that joins takes the place of one that left, so that the order of reports is that of a trial a process."""
        joining = [WorkerTrial(assignment) for assignment in self._joining]
        places: list[WorkerTrial] = []
        for name, trial in self._trials.items():
            if name not in self._leaving:
                places.append(trial)
                continue
            trial.forget()
            if joining:
                places.append(joining.pop(0))
        self._trials = {trial.name: trial for trial in [*places, *joining]}
        self._leaving, self._joining = [], []

    def _build(self) -> dict[str, BaseException]:
        """Trials that cannot be built or cannot go on, and why."""
        failed: dict[str, BaseException] = {}
        for name, trial in self._trials.items():
            try:
                trial.trial  # noqa: B018 - builds it
            except Exception as error:  # noqa: BLE001 - told as the trial's own
                failed[name] = error
        return failed

    def _train(self, failed: dict[str, BaseException]) -> list[dict[str, Any]]:
        live = [trial for name, trial in self._trials.items() if name not in failed]
        reports: dict[str, list[EpochReport]] = {trial.name: [] for trial in live}
        start, must_tell = time.monotonic(), False
        while live:
            for trial, result in zip(live, self._stepped(live), strict=True):
                if isinstance(result, TrialDiverged):
                    failed[trial.name] = result
                else:
                    reports[trial.name].append(result)
                    must_tell = must_tell or trial.must_tell(result)
            live = [trial for trial in live if trial.name not in failed]
            if must_tell or failed or time.monotonic() - start >= worker_trial.REPORT_INTERVAL_S:
                break
        used = self._process.used()  # once: it tells what has been used since it was asked last
        return [self._report(trial, reports.get(name, []), failed.get(name), used) for name, trial in self._trials.items()]

    def _stepped(self, live: Sequence[WorkerTrial]) -> list[EpochReport | TrialDiverged]:
        """The next epoch of each; trials that do not fit into one program are several, one after another."""
        if self._fused is None:
            return [_alone(trial) for trial in live]
        groups: dict[Hashable, list[WorkerTrial]] = {}
        for trial in live:
            groups.setdefault(self._fused.fusion_key(trial.trial), []).append(trial)
        results: dict[str, EpochReport | TrialDiverged] = {}
        for group in groups.values():
            stepped = self._fused.step_together([trial.trial for trial in group])
            results |= {trial.name: result for trial, result in zip(group, stepped, strict=True)}
        return [results[trial.name] for trial in live]

    def _report(
        self, trial: WorkerTrial, reports: list[EpochReport], error: BaseException | None, used: Mapping[str, float]
    ) -> dict[str, Any]:
        """What the driver is told of one trial."""
        report: dict[str, Any] = {"trial": trial.name, "epochs": []}
        try:
            if reports:
                report |= trial.told(reports, self._process, used)
                report["notes"] = [*report["notes"], *([] if self._fused is None else [_NOTE])]
        except Exception as failure:  # noqa: BLE001 - its checkpoint could not be written: the others' may have been
            error = error or failure
        return {**report, "failure": None if error is None else broken(error).document}


def _alone(trial: WorkerTrial) -> EpochReport | TrialDiverged:
    try:
        return trial.trial.step()
    except TrialDiverged as error:
        return error
