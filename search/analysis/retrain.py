"""Fresh seeds: a configuration trained again, to its chosen epoch, without choosing again."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from scipy import stats

from search.records.plan import Plan
from spaces.fields import Value
from trainables.contract import TrialRequest
from trainables.tasks import TASKS


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % t-interval over seeds."""

    mean: float
    low: float
    high: float


def retrain(
    plan: Plan, config: Mapping[str, Value], epoch: int, seeds: Sequence[int], processes: int = 1
) -> list[dict[str, float]]:
    """Metrics at one epoch, for each seed.

    Args:    plan: of the search: task, data, objective.
             config: to train.
             epoch: trained to and measured at; nothing is selected.
             seeds: none of the search's, to be fair.
             processes: at once.
    """
    device = "cpu" if plan.gpus_per_trial == 0 else "auto"
    requests = [TrialRequest(plan.task, dict(config), plan.source, seed, plan.objective, 10**9, device) for seed in seeds]
    # Spawned, not forked: torch's threads do not survive a fork.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return list(pool.map(_train_to, requests, [epoch] * len(requests)))


def _train_to(request: TrialRequest, epoch: int) -> dict[str, float]:
    trial = TASKS[request.task].load().build(request)
    for _ in range(epoch - 1):
        trial.step()
    return dict(trial.step().metrics)


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean and 95 % t-interval of values over seeds, or of paired differences.

    Args:    values: two or more.
    """
    sample = np.asarray(values, dtype=float)
    half = stats.t.ppf(0.975, len(sample) - 1) * sample.std(ddof=1) / np.sqrt(len(sample))
    return Interval(float(sample.mean()), float(sample.mean() - half), float(sample.mean() + half))
