"""The trial contract as a Tune trainable: one process that trains one trial after another."""

import time
from typing import Any

from ray import tune

from search.execution import member
from search.execution.failures import broken
from search.execution.member import Member, Process
from trainables.contract import EpochReport


class TrialActor(tune.Trainable):  # type: ignore[misc]
    """Runs the trial that its config describes; `reset_config` gives it the next one."""

    def setup(self, config: dict[str, Any]) -> None:
        """Takes the assignment; the trial is built by the first step, so that its faults are the trial's own."""
        self._process, self._member = Process(), Member(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the next assignment; nothing of the trial before is kept but imported code and mapped data."""
        self._member.forget()
        self._member = Member(new_config)
        return True

    def cleanup(self) -> None:
        """The process ends."""
        self._member.forget()

    def step(self) -> dict[str, Any]:
        """Runs epochs until something must be said; one report carries them all."""
        try:
            return self._step()
        except Exception as error:  # noqa: BLE001 - whatever it is, the driver is to be told
            # The message must reach the driver without unpickling anything that a trial made.
            raise broken(error) from None

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: states lie in the trial's folder, which every node reaches; Tune's own checkpoints are not asked for."""

    def load_checkpoint(self, checkpoint: str) -> None:
        """Nothing: the first step goes on from the newest state in the trial's folder."""

    def _step(self) -> dict[str, Any]:
        trial, start = self._member.trial, time.monotonic()
        reports: list[EpochReport] = []
        while True:
            reports.append(trial.step())
            if self._member.must_tell(reports[-1]) or time.monotonic() - start >= member.REPORT_INTERVAL_S:
                return self._member.told(reports, self._process, self._process.used())
