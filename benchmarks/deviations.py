"""What do deviations from the papers do to what is measured?

Each row of docs/deviations.md that a training can measure: the network or the training as the paper (or its authors' code)
has it against ours, at the demo's size on synthetic cases, both runs of a pair with one seed. A run's figure is the mean of a
metric over its last three epochs. Printed is, for each deviation, the mean of the paired differences, ours less the paper's, with
Student's 95 % interval. Needs no Ray, Optuna or MLflow.

    OMP_NUM_THREADS=1 python benchmarks/deviations.py [--only NAME ...] [--cases 400] [--epochs 10] [--seeds 5]

Prints the differences whatever they are and exits 0: this is a question, not a bar.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
import torch.nn.functional as F
from measuring import paired
from torch import Tensor

from models.attentive_network import DiagnosisBranch
from models.structure_decoder import StructureDecoder
from spaces.attentive import VARIANTS
from spaces.fields import Value, complete
from trainables.attentive import task as attentive
from trainables.contract import TrialRequest
from trainables.data import split_source
from trainables.data.source import synthetic_location
from trainables.gated import task as gated
from trainables.loop import TrainedTrial
from trainables.tasks import TASKS

#: Epochs at the end of a run that its figure is the mean of.
LAST = 3
_PAPER = VARIANTS["VGG_AttentiveConvLSTM_Deco_GAP_3"]
_BUILD = {"attentive": attentive.build, "gated": gated.build}
_FORMAT = {"attentive": "isic2017", "gated": "derm7pt"}


class PooledBeforeLast(DiagnosisBranch):
    """T - 1 attended maps are pooled, as Fig. 4 has it: the last one's pooled values are 0."""

    def forward(self, features: Tensor, attended: Tensor | None, generator: torch.Generator | None = None) -> Tensor:
        """Logits of benign and melanoma; see `DiagnosisBranch`."""
        if attended is None or self._head == "fully_connected":
            raise ValueError("pooled gazes must be there; got a head without them")
        maps = self.blocks(features if self._sees_features else attended[:, -1])[-1].mean((2, 3))
        pooled = F.pad(attended[:, :-1].mean((3, 4)), (0, 0, 0, 1)).flatten(1)
        gazes = pooled if self.shrink is None else F.relu(self.shrink(pooled))
        return self.layers[0](torch.cat([maps, gazes], 1))  # type: ignore[no-any-return]


class NormalisedByTimestep(StructureDecoder):
    """Batch statistics over the batch at each timestep, as in the authors' code."""

    def _timesteps_at_once(self, hidden: Tensor) -> int:
        return 1


def _pool_before_last(trial: TrainedTrial) -> None:
    trial.learner.model.diagnosis.__class__ = PooledBeforeLast


def _normalise_by_timestep(trial: TrainedTrial) -> None:
    trial.learner.model.decoder.__class__ = NormalisedByTimestep


def _unchanged(trial: TrainedTrial) -> None:
    """Ours, or a deviation that a field describes."""


@dataclass(frozen=True)
class Deviation:
    """One thing that is done otherwise.

    Args:    task: gated or attentive.
             metrics: that may change.
             settings: of ours and of the paper's run.
             as_paper: makes a trial what the paper has, where no field does.
    """

    task: str
    metrics: tuple[str, ...]
    ours: Mapping[str, Value] = field(default_factory=dict)
    papers: Mapping[str, Value] = field(default_factory=dict)
    as_paper: Callable[[TrainedTrial], None] = _unchanged


_GAZES = ("valid/melanoma/auroc", "valid/structures/map")
DEVIATIONS = {
    "pooled gazes": Deviation("attentive", _GAZES, as_paper=_pool_before_last),
    "decoder statistics": Deviation("attentive", _GAZES, as_paper=_normalise_by_timestep),
    "repeat factors": Deviation("attentive", _GAZES, ours={"structure_sampling": "rare_structures"}),
    "augmentation": Deviation("gated", ("valid/auroc_mean",), ours={"augmentation_sizes": "wide"}),
}


def figures(deviation: Deviation, source: str, seed: int, epochs: int, *, as_paper: bool) -> list[float]:
    """Each metric of one run, the mean over its last epochs.

    Args:    deviation, source, seed, epochs: of the run.
             as_paper: whether the run does what the paper does.
    """
    task = TASKS[deviation.task]
    third: Mapping[str, Value] = _PAPER if deviation.task == "attentive" else {}
    chosen = deviation.papers if as_paper else deviation.ours
    config = complete(task.space, {**task.presets["demo"].fixed, **third, **chosen, "patience": epochs})
    trial = _BUILD[deviation.task](TrialRequest(deviation.task, config, source, seed, task.objective, epochs, device="cpu"))
    if as_paper:
        deviation.as_paper(trial)
    reports = [trial.step().metrics for _ in range(epochs)][-LAST:]
    return [float(np.mean([report[metric] for report in reports])) for metric in deviation.metrics]


def main() -> int:
    """Trains the pairs of each deviation; the differences and the last one's ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=tuple(DEVIATIONS), default=tuple(DEVIATIONS))
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5, help="pairs of runs")
    given = parser.parse_args()
    begun, ratio = time.perf_counter(), 1.0
    for name in given.only:
        deviation = DEVIATIONS[name]
        size = TASKS[deviation.task].presets["demo"].synthetic_size_px
        source = f"{_FORMAT[deviation.task]}:{synthetic_location(given.cases, size)}"
        split_source(source)
        pairs = [
            [figures(deviation, source, seed, given.epochs, as_paper=paper) for paper in (False, True)]
            for seed in range(given.seeds)
        ]
        for place, metric in enumerate(deviation.metrics):
            ours, papers = ([pair[which][place] for pair in pairs] for which in (0, 1))
            mean, low, high = paired([one - other for one, other in zip(ours, papers, strict=True)])
            ratio = float(np.mean(ours) / max(np.mean(papers), 1e-9))
            told = f"ours {np.mean(ours):.3f}, the paper's {np.mean(papers):.3f}, {mean:+.3f} [{low:+.3f}, {high:+.3f}]"
            print(f"{name}, {metric}: {told} ({time.perf_counter() - begun:.0f} s)", flush=True)
    print(f"ours over the paper's, the last of them, ratio: {ratio:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
