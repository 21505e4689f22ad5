"""Several trials as one program, as a Tune trainable: one process whose trials come and go."""

import time
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from ray import tune

from search.execution import member
from search.execution.failures import broken
from search.execution.member import Member, Process
from trainables.contract import EpochReport
from trainables.errors import TrialDiverged
from trainables.tasks import TASKS, ArrayModule

#: Keys of an array's config: what it is called, the task, and an assignment for each of its trials.
ARRAY, TASK, MEMBERS = "array", "task", "members"
_NOTE = "trained as one program with other trials (--fuse-trials): the same arithmetic, rounded otherwise"


class ArrayActor(tune.Trainable):  # type: ignore[misc]
    """Steps its members together and tells of each by its name. What fails in one of them alone ends no other."""

    def setup(self, config: dict[str, Any]) -> None:
        """Takes the first members; they are built by the first step."""
        self._process, self._members = Process(), dict[str, Member]()
        self._assign(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes another array's members; nothing of those before is kept but imported code and mapped data."""
        self._assign(new_config)
        return True

    def _assign(self, config: dict[str, Any]) -> None:
        self.cleanup()
        self._array: ArrayModule = TASKS[config[TASK]].load_array()
        self._members = {assignment["trial"]: Member(assignment) for assignment in config[MEMBERS]}
        self._leaving, self._joining = list[str](), list[dict[str, Any]]()

    def update(self, leaving: list[str], joining: list[dict[str, Any]]) -> None:
        """Who is no member any more, and assignments of those who are from now on, in their places first.

        It is only taken note of here, since nobody hears what goes wrong now; the next step does it.
        """
        self._leaving, self._joining = leaving, joining

    def cleanup(self) -> None:
        """The process ends."""
        for found in self._members.values():
            found.forget()

    def step(self) -> dict[str, Any]:
        """Runs epochs until something must be said of a member; one report carries all epochs of all."""
        try:
            self._change()
            return {MEMBERS: self._told(self._built())}
        except Exception as error:  # noqa: BLE001 - whatever it is, the driver is to be told
            # The message must reach the driver without unpickling anything that a trial made.
            raise broken(error) from None

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: states lie in the trials' folders."""

    def load_checkpoint(self, checkpoint: str) -> None:
        """Nothing: each member goes on from the newest state in its folder."""

    def _change(self) -> None:
        """Whoever joins takes the place of one that left, so that the order of reports is that of a trial a process."""
        joining = [Member(assignment) for assignment in self._joining]
        places: list[Member] = []
        for name, found in self._members.items():
            if name not in self._leaving:
                places.append(found)
                continue
            found.forget()
            if joining:
                places.append(joining.pop(0))
        self._members = {found.name: found for found in [*places, *joining]}
        self._leaving, self._joining = [], []

    def _built(self) -> dict[str, BaseException]:
        """Members that cannot be built or cannot go on, and why."""
        failed: dict[str, BaseException] = {}
        for name, found in self._members.items():
            try:
                found.trial  # noqa: B018 - builds it
            except Exception as error:  # noqa: BLE001 - told as the member's own
                failed[name] = error
        return failed

    def _told(self, failed: dict[str, BaseException]) -> list[dict[str, Any]]:
        live = [found for name, found in self._members.items() if name not in failed]
        reports: dict[str, list[EpochReport]] = {found.name: [] for found in live}
        start, must_tell = time.monotonic(), False
        while live:
            for found, result in zip(live, self._stepped(live), strict=True):
                if isinstance(result, TrialDiverged):
                    failed[found.name] = result
                else:
                    reports[found.name].append(result)
                    must_tell = must_tell or found.must_tell(result)
            live = [found for found in live if found.name not in failed]
            if must_tell or failed or time.monotonic() - start >= member.REPORT_INTERVAL_S:
                break
        used = self._process.used()  # once: it tells what has been used since it was asked last
        return [self._of(found, reports.get(name, []), failed.get(name), used) for name, found in self._members.items()]

    def _stepped(self, live: Sequence[Member]) -> list[EpochReport | TrialDiverged]:
        """The next epoch of each; members that do not fit into one program are several, one after another."""
        groups: dict[Hashable, list[Member]] = {}
        for found in live:
            groups.setdefault(self._array.array_key(found.trial), []).append(found)
        results: dict[str, EpochReport | TrialDiverged] = {}
        for group in groups.values():
            stepped = self._array.step_together([found.trial for found in group])
            results |= {found.name: result for found, result in zip(group, stepped, strict=True)}
        return [results[found.name] for found in live]

    def _of(
        self, found: Member, reports: list[EpochReport], error: BaseException | None, used: Mapping[str, float]
    ) -> dict[str, Any]:
        """What the driver is told of one member."""
        told: dict[str, Any] = {"trial": found.name, "epochs": []}
        try:
            if reports:
                told |= found.told(reports, self._process, used)
                told["notes"] = [*told["notes"], _NOTE]
        except Exception as failure:  # noqa: BLE001 - its checkpoint could not be written: the others' may have been
            error = error or failure
        return {**told, "failure": None if error is None else broken(error).document}
