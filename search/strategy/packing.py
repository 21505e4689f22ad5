"""What memory a trial gets: the share of a GPU that was asked for or that the first trial was seen to need, and what is done when
that is too little."""

import math
from collections.abc import Iterable

from search.records.ledger import Event
from trainables.contract import GPU_CONTEXT_MIB

#: A later configuration may need more than the one that was measured.
SAFETY_MARGIN = 1.25
#: More trials on one GPU wait for each other's kernels and for the host.
MOST_PER_GPU = 16
#: A part of a batch that is smaller still saves little, and the weights do not shrink.
MOST_PARTS = 8
#: Where no process can say what it used.
DEFAULT_SHARE = 0.25


def packed_share(peak_mib: float, gpu_mib: float) -> float:
    """The share of a GPU for trials like one that was measured.

    Args:    peak_mib: most that the trial's process had reserved.
             gpu_mib: memory of its GPU.
    Returns: 1 / k for k trials on a GPU, 1 where not even two fit.
    """
    fits = math.floor(gpu_mib / (peak_mib * SAFETY_MARGIN + GPU_CONTEXT_MIB))
    return 1 / min(max(fits, 1), MOST_PER_GPU)


def larger_share(share: float) -> float | None:
    """The share for a trial that ran out of memory, None when there is no larger one: a trial is not spread over GPUs."""
    return None if share >= 1 or share <= 0 else min(1.0, 2 * share)


class Packing:
    """Each trial's share of a GPU, and in how many parts its batches pass.

    While nothing has been measured a trial gets a whole GPU, for as long as its first report takes.

    Args:    asked: share or number of GPUs for every trial, 0 for none, None to measure.
             past: events of earlier processes.
    """

    def __init__(self, asked: float | None, past: Iterable[Event] = ()) -> None:
        self._auto, self._share = asked is None, asked
        self._own: dict[str, float] = {}
        self._parts: dict[str, int] = {}
        for event in past:
            if event["event"] == "packed" and self._auto:
                self._share = event["gpus_per_trial"]
            elif event["event"] == "retried":
                self._parts[event["trial"]] = event["batch_parts"]
                if event["gpus_per_trial"]:
                    self._own[event["trial"]] = event["gpus_per_trial"]

    @property
    def measured(self) -> bool:
        """Whether the share is known."""
        return self._share is not None

    @property
    def share(self) -> float:
        """Of a trial that begins now."""
        return 1.0 if self._share is None else self._share

    def share_of(self, trial: str) -> float:
        """Of this trial, if it is started now."""
        return self._own.get(trial, self.share)

    def parts_of(self, trial: str) -> int:
        """In how many parts this trial's batches pass."""
        return self._parts.get(trial, 1)

    def observe(self, peak_mib: float | None, gpu_mib: float | None) -> bool:
        """Takes what a trial's process has used; says whether that changes what trials get.

        Args:    peak_mib: most that it had reserved, None where that is not known.
                 gpu_mib: memory of its GPU.
        """
        if not self._auto or (peak_mib is None and self.measured):
            return False
        share = DEFAULT_SHARE if not peak_mib or not gpu_mib else packed_share(peak_mib, gpu_mib)
        if self._share is not None and share <= self._share:
            return False
        self._share = share
        return True

    def relieve(self, trial: str, share: float) -> bool:
        """Gives a trial that ran out of memory more of it, or, where there is no more, smaller parts; says whether it can.

        Args:    trial: its id.
                 share: that it had.
        """
        larger = larger_share(share)
        if larger is not None:
            self._own[trial] = larger
            return True
        if self.parts_of(trial) >= MOST_PARTS:
            return False
        self._parts[trial] = 2 * self.parts_of(trial)
        return True
