"""Pictures of a whole search: best so far over cost, parallel coordinates, importance, slices, rung survival."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from search.analysis.figures import COLOURS, panel, panels, plain_text, shortened
from search.analysis.importance import Importance
from search.records.plan import Plan
from search.records.trials import TrialRecord, TrialTable
from search.strategy.rungs import rungs
from spaces.fields import Field, Value, format_value
from trainables.selection import rank_key, window_of

#: From worst to best: equally bright steps, readable in grey and by colour-blind readers.
SCALE = mpl.colormaps["viridis"]
_INACTIVE = "–"
_HALO = {"boxstyle": "round,pad=0.1", "facecolor": "white", "alpha": 0.7, "linewidth": 0}
#: More hyperparameters side by side cannot be told apart.
_COORDINATES = 9


def best_so_far(plan: Plan, table: TrialTable) -> Figure:
    """The best score over the training time that all trials together have taken, and every trial's own best."""
    epochs = sorted(
        ((epoch, trial) for trial in table.trials.values() if trial.state != "failed" for epoch in trial.epochs),
        key=lambda pair: (pair[0]["time"], pair[0]["epoch"]),
    )
    spent = np.cumsum([float(epoch["seconds"]) for epoch, _ in epochs]) if epochs else np.zeros(0)
    unit, name = (3600, "h") if len(spent) and spent[-1] > 7200 else (60, "min") if len(spent) and spent[-1] > 120 else (1, "s")
    figure, axes = panel(width=6.8, height=4.0)
    keys = [rank_key(window_of(epoch), float(epoch["score"]), plan.objective.sign) for epoch, _ in epochs]
    full = max((window for window, _ in keys), default=0)
    steps: list[tuple[float, float]] = []
    leader = -math.inf
    for (window, gain), cost, (epoch, trial) in zip(keys, spent / unit, epochs, strict=True):
        if epoch["epoch"] == trial.best_epoch:
            axes.plot(cost, epoch["score"], "o", color=COLOURS[5], markersize=4, alpha=0.8)
        # A mean over fewer validations is no match for a full one, so none is drawn as a best.
        if window == full and gain > leader and not trial.excess(plan.constraints):
            leader = gain
            steps.append((cost, float(epoch["score"])))
    if steps:
        x, y = zip(*steps, strict=True)
        axes.plot([*x, spent[-1] / unit], [*y, y[-1]], drawstyle="steps-post", color=COLOURS[0], linewidth=2, label="best so far")
        axes.plot([], [], "o", color=COLOURS[5], markersize=4, label="a trial's best epoch")
        axes.legend(frameon=False)
    axes.set_xlabel(f"training time of all trials together ({name})")
    axes.set_ylabel(f"score: {shortened(plan.objective.metric, 48)} ({plan.objective.mode})")
    return figure


@dataclass(frozen=True)
class _Axis:
    """One coordinate: where a value stands between 0 and 1, and what is written beside it."""

    name: str
    place: Callable[[Value], float]
    ticks: Sequence[tuple[float, str]]


def parallel_coordinates(plan: Plan, table: TrialTable, importance: Importance | None = None) -> Figure:
    """Every trial as a line through its hyperparameters to its score; the better, the lighter and the further in front.

    Args:    plan, table: of the search.
             importance: chooses the fields when there are too many to be told apart; the first ones without it.
    """
    trials = table.ranked()[::-1]
    fields = varied(plan, trials)
    if len(fields) > _COORDINATES:
        shares = {} if importance is None else importance.shares
        foremost = sorted(fields, key=lambda field: -shares.get(field.name, 0.0))[:_COORDINATES]
        fields = [field for field in fields if field in foremost]
    scores = [float(trial.score or 0.0) for trial in trials]
    coordinates = [_axis(field, [trial.config.get(field.name) for trial in trials]) for field in fields]
    coordinates.append(_straight_axis(plan.objective.metric, scores))
    figure, axes = panel(width=max(6.8, 1.05 * len(coordinates)), height=4.4)
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_yticks([])
    rows = [[*(trial.config.get(field.name) for field in fields), score] for trial, score in zip(trials, scores, strict=True)]
    lines = [[(x, axis.place(value)) for x, (axis, value) in enumerate(zip(coordinates, row, strict=True))] for row in rows]
    order = np.linspace(0.0, 1.0, len(trials))
    axes.add_collection(LineCollection(lines, colors=SCALE(0.95 * order), linewidths=0.8 + 1.4 * order, alpha=0.85))
    for x, axis in enumerate(coordinates):
        axes.axvline(x, color="#888888", linewidth=0.8, zorder=0)
        for y, text in axis.ticks:
            axes.text(x + 0.03, y, text, va="center", fontsize=7, color="#333333", bbox=_HALO)
    axes.set_xlim(-0.1, len(coordinates) - 0.6)
    axes.set_ylim(-0.15, 1.08)
    axes.set_xticks(range(len(coordinates)), [axis.name for axis in coordinates], rotation=25, ha="right", fontsize=8)
    return figure


def _straight_axis(name: str, values: Sequence[float]) -> _Axis:
    low, spread = min(values), (max(values) - min(values)) or 1.0
    ticks = [(place, f"{low + place * spread:.4g}") for place in (0.0, 0.5, 1.0)]
    return _Axis(name, lambda value: (_number(value) - low) / spread, ticks)


def importance_bars(importance: Importance) -> Figure:
    """Importance of each hyperparameter, with what pure noise would give."""
    rows = sorted(importance.shares, key=importance.shares.__getitem__)
    figure, axes = panel(width=6.8, height=1.1 + 0.3 * len(rows))
    axes.barh(rows, [importance.shares[name] for name in rows], color=COLOURS[0], height=0.6)
    noise = [importance.noise[name] for name in rows]
    label = "95 % of shuffled scores stay left of this"
    axes.plot(noise, range(len(rows)), "|", color=COLOURS[1], markersize=12, markeredgewidth=2, label=label)
    axes.set_xlim(0, None)
    axes.set_xlabel(f"importance (PED-ANOVA over {importance.num_trials} trials; stopped ones with their best so far)")
    figure.legend(frameon=False, loc="outside upper right")
    return figure


def slices(plan: Plan, table: TrialTable) -> Figure:
    """The score over each hyperparameter: filled for trials that ran to their end, hollow for those stopped early."""
    trials = table.ranked()
    fields = varied(plan, trials)
    figure, grid = panels(len(fields), columns=4, width=2.4, height=2.0)
    for axes, field in zip(grid, fields, strict=True):
        active = [trial for trial in trials if trial.config.get(field.name) is not None]
        axis = _axis(field, [trial.config[field.name] for trial in active])
        for ended, style in ((True, "full"), (False, "none")):
            chosen = [trial for trial in active if (trial.state == "finished") == ended]
            points = [(axis.place(trial.config[field.name]), float(trial.score or 0.0)) for trial in chosen]
            axes.plot([x for x, _ in points], [y for _, y in points], "o", color=COLOURS[0], markersize=4, fillstyle=style)
        tilt = 0 if field.kind in ("real", "integer") else 20
        axes.set_xticks([place for place, _ in axis.ticks], [text for _, text in axis.ticks], fontsize=7, rotation=tilt)
        axes.set_xlim(-0.15, 1.15)
        axes.tick_params(labelsize=7)
        axes.set_title(f"{field.name}{f' ({field.unit})' if field.unit else ''}", fontsize=8)
    figure.supylabel(f"score: {plan.objective.metric}", fontsize=8)
    return figure


def rung_survival(plan: Plan, table: TrialTable) -> Figure:
    """Trials that went on past each epoch; the scheduler's rungs are dashed."""
    delays = [plan.delay_of(trial.config) for trial in table.trials.values()]
    lasts = [trial.last_epoch - delay for trial, delay in zip(table.trials.values(), delays, strict=True)]
    figure, axes = panel(width=6.8, height=3.6)
    x = np.arange(1, plan.max_epochs + 1)
    ran = (np.array(lasts, dtype=int)[:, None] >= x).sum(0)
    axes.fill_between(x, ran, step="mid", color=COLOURS[0], alpha=0.35, linewidth=0)
    axes.plot(x, ran, drawstyle="steps-mid", color=COLOURS[0])
    for rung in rungs(plan.grace_period, plan.max_epochs, plan.reduction) if plan.scheduler != "none" else ():
        axes.axvline(rung, color=COLOURS[1], linestyle="--", linewidth=1)
    axes.set_ylim(0, None)
    axes.set_xlabel("epoch" if not any(delays) else "epoch, counted from where the objective is trained")
    axes.set_ylabel("trials that ran it")
    return figure


def varied(plan: Plan, trials: Sequence[TrialRecord]) -> list[Field]:
    """The searched fields that differ between these trials."""
    return [f for f in plan.searched if len({trial.config.get(f.name) for trial in trials}) > 1]


def _axis(field: Field, values: Sequence[Value]) -> _Axis:
    if field.kind in ("real", "integer"):
        return _numeric_axis(field, [float(v) for v in values if isinstance(v, int | float)], None in values)
    order = [*map(_text, field.choices), _INACTIVE]
    texts = sorted({_text(v) for v in values}, key=order.index)
    places = {text: index / max(len(texts) - 1, 1) for index, text in enumerate(texts)}
    return _Axis(field.name, lambda v: places[_text(v)], [(place, text) for text, place in places.items()])


def _numeric_axis(field: Field, values: Sequence[float], with_inactive: bool) -> _Axis:
    scale: Callable[[float], float] = math.log if field.log else float
    back: Callable[[float], float] = math.exp if field.log else float
    low, high = scale(min(values)), scale(max(values))
    spread = (high - low) or 1.0
    ticks = [(place, f"{back(low + place * spread):.3g}") for place in (0.0, 0.5, 1.0)]
    if with_inactive:
        ticks.append((-0.1, _INACTIVE))
    return _Axis(field.name, lambda v: -0.1 if v is None else (scale(_number(v)) - low) / spread, ticks)


def _number(value: Value) -> float:
    return float(value or 0.0)


def _text(value: Value) -> str:
    return _INACTIVE if value is None else format_value(value)


@plain_text
def pictures_of_search(plan: Plan, table: TrialTable, importance: Importance | None) -> Mapping[str, Figure]:
    """Every picture of a search that it has enough trials for, by name.

    Args:    plan, table: of the search.
             importance: of its hyperparameters, None when there are too few trials.
    """
    found = {"best_so_far": best_so_far(plan, table), "rung_survival": rung_survival(plan, table)}
    ranked = table.ranked()
    if len(ranked) > 1 and varied(plan, ranked):
        found |= {"parallel_coordinates": parallel_coordinates(plan, table, importance), "slices": slices(plan, table)}
    if importance is not None:
        found["importance"] = importance_bars(importance)
    return found
