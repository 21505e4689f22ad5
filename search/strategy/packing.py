"""What memory a trial gets: the share of a GPU that was asked for or that the first trial was seen to need, and what is done when
that is too little."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from search.records.events import Retried
from search.records.state import SearchState
from search.strategy.retries import Failure
from spaces.fields import Value
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


def with_advice(failure: Failure, config: Mapping[str, Value], share: float) -> Failure:
    """A failure for want of memory that no retry can help, with what can.

    Args:    failure: of a trial.
             config: of it.
             share: of a GPU that it had, 0 for none.
    """
    if failure.kind != "memory":
        return failure
    size = f"--set batch_size= below {config['batch_size']}" if config.get("batch_size") is not None else ""
    fewer = "fewer trials at once by --max-concurrent" if not share else ""
    advice = " or ".join(filter(None, (size, fewer)))
    return replace(failure, reason=f"{failure.reason} (it needs less memory: {advice})") if advice else failure


@dataclass(frozen=True)
class Memory:
    """What memory a trial gets.

    Args:    share: of a GPU, 0 for none.
             batch_parts: in which its batches pass.
    """

    share: float
    batch_parts: int = 1

    def more(self, *, splits: bool) -> "Memory | None":
        """For a trial that ran out of it: a larger share or, where there is none, smaller parts; None where neither is left.

        Args:    splits: whether its batches can pass in parts.
        """
        larger = larger_share(self.share)
        if larger is not None:
            return replace(self, share=larger)
        return replace(self, batch_parts=2 * self.batch_parts) if splits and self.batch_parts < MOST_PARTS else None


def retried(trial: str, failure: Failure, memory: Memory, suspects: tuple[str, int] | None = None) -> Retried:
    """What is written down of a trial that begins again.

    Args:    trial: its id.
             failure: of it.
             memory: that it gets from now on.
             suspects: see `Retried`.
    """
    return Retried(
        trial=trial,
        kind=failure.kind,
        reason=failure.reason,
        gpus_per_trial=memory.share,
        batch_parts=memory.batch_parts,
        suspects=suspects,
    )


class Packing:
    """Each trial's memory: what a failure has given it, else the share that was asked for, or that the first trial needed.

    While nothing has been measured a trial gets a whole GPU, for as long as its first report takes.

    Args:    asked: share or number of GPUs for every trial, 0 for none, None to measure.
             state: of the search.
    """

    def __init__(self, asked: float | None, state: SearchState) -> None:
        self._asked, self._state = asked, state

    @property
    def _share(self) -> float | None:
        return self._state.packed if self._asked is None else self._asked

    @property
    def measured(self) -> bool:
        """Whether the share is known."""
        return self._share is not None

    @property
    def share(self) -> float:
        """Of a trial that begins now."""
        return 1.0 if self._share is None else self._share

    def of(self, trial: str) -> Memory:
        """Of this trial, if it is started now."""
        record = self._state.trials.get(trial)
        if record is None:
            return Memory(self.share)
        return Memory(self.share if record.gpus is None else record.gpus, record.batch_parts)

    def observe(self, peak_mib: float | None, gpu_mib: float | None) -> float | None:
        """The share that trials get from now on, by what a trial's process has used; None where that changes nothing.

        Args:    peak_mib: most that it had reserved, None where that is not known.
                 gpu_mib: memory of its GPU.
        """
        if self._asked is not None or (peak_mib is None and self.measured):
            return None
        share = DEFAULT_SHARE if not peak_mib or not gpu_mib else packed_share(peak_mib, gpu_mib)
        return share if self._share is None or share > self._share else None
