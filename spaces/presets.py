"""How large a search of a task is, by name."""

from collections.abc import Mapping
from dataclasses import dataclass

from spaces.fields import Value


@dataclass(frozen=True)
class Preset:
    """A size of search: fixed fields and how much of it.

    Args:    fixed: values that replace the fields' defaults and are not searched.
             num_trials: trials.
             max_epochs: epochs a trial may run.
             synthetic_cases: cases of the synthetic set when no data are given; 0 where a task needs none.
             synthetic_size_px: side of its images.
             reproduced_seeds: runs of each of the paper's experiments (`dermtune reproduce`).
             reproduced_epochs: epochs that such a run may take; the paper's rules end most earlier.
    """

    fixed: Mapping[str, Value]
    num_trials: int
    max_epochs: int
    synthetic_cases: int = 0
    synthetic_size_px: int = 0
    reproduced_seeds: int = 3
    reproduced_epochs: int = 0
