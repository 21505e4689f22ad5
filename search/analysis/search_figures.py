"""Pictures of a whole search: best so far over cost, parallel coordinates, importance, slices, rung survival."""

import math
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from search.analysis.figures import COLOURS, nothing, panel, panels, plain_text, shortened
from search.analysis.importance import FEWEST, Importance
from search.records.description import ranking_words
from search.records.plan import Plan
from search.records.state import SearchState
from search.records.trials import TrialRecord
from search.strategy.rungs import rungs
from spaces.fields import Field, Value, format_value
from trainables.selection import rank_key

#: From worst to best: equally bright steps, readable in grey and by colour-blind readers.
SCALE = mpl.colormaps["viridis"]
_INACTIVE = "–"
_HALO = {"boxstyle": "round,pad=0.1", "facecolor": "white", "alpha": 0.7, "linewidth": 0}
#: More hyperparameters side by side cannot be told apart: the others stand in further rows.
_COORDINATES = 9


def best_so_far(plan: Plan, state: SearchState) -> Figure:
    """The best score over the training time that all trials together have taken, and every trial's own best."""
    epochs = sorted(
        ((epoch, trial) for trial in state.trials.values() if trial.state != "failed" for epoch in trial.epochs),
        key=lambda pair: (pair[0].time or "", pair[0].epoch),
    )
    spent = np.cumsum([epoch.seconds for epoch, _ in epochs]) if epochs else np.zeros(0)
    unit, name = (3600, "h") if len(spent) and spent[-1] > 7200 else (60, "min") if len(spent) and spent[-1] > 120 else (1, "s")
    figure, axes = panel(width=6.8, height=4.0)
    keys = [rank_key(epoch.window, epoch.score, plan.objective.sign) for epoch, _ in epochs]
    full = max((window for window, _ in keys), default=0)
    steps: list[tuple[float, float]] = []
    leader = -math.inf
    for (window, gain), cost, (epoch, trial) in zip(keys, spent / unit, epochs, strict=True):
        if epoch.epoch == trial.score_epoch:
            axes.plot(cost, epoch.score, "o", color=COLOURS[5], markersize=4, alpha=0.8)
        # A mean over fewer validations is no match for a full one, so none is drawn as a best.
        if window == full and gain > leader and not trial.excess(plan.constraints):
            leader = gain
            steps.append((cost, epoch.score))
    if not epochs:
        nothing(axes, "nothing to draw: no trial that has not failed has reported")
        return figure
    axes.plot([], [], "o", color=COLOURS[5], markersize=4, label="a trial's best epoch")
    if steps:
        x, y = zip(*steps, strict=True)
        axes.plot([*x, spent[-1] / unit], [*y, y[-1]], drawstyle="steps-post", color=COLOURS[0], linewidth=2, label="best so far")
    axes.legend(frameon=False)
    axes.set_xlabel(f"training time of all trials together ({name})")
    axes.set_ylabel(score_label(plan), fontsize=8)
    return figure


def score_label(plan: Plan) -> str:
    """What stands beside an axis of scores."""
    words = ranking_words(plan).replace(plan.objective.metric, shortened(plan.objective.metric, 40))
    return f"score ({plan.objective.mode}):\n{words}"


def pareto_front(plan: Plan, state: SearchState) -> Figure:
    """The first objective against each of the others, by the scores that make the front; trials beyond a limit are crosses."""
    front = {trial.trial for trial in state.pareto(plan.objectives)}
    scored = [(trial, scores) for trial in state.ranked() if (scores := trial.scores(plan.objectives)) is not None]
    figure, grid = panels(len(plan.further_objectives), columns=2, width=5.6, height=4.2)
    for column, (axes, objective) in enumerate(zip(grid, plan.further_objectives, strict=True), start=1):
        for label, marker, colour, chosen in (
            ("beyond a limit", "x", "#888888", [p for p in scored if p[0].excess(plan.constraints)]),
            (
                "not on the front",
                "o",
                COLOURS[5],
                [p for p in scored if not _on(front, p[0]) and not p[0].excess(plan.constraints)],
            ),
            ("on the Pareto front", "o", COLOURS[1], [p for p in scored if _on(front, p[0])]),
        ):
            if chosen:
                axes.plot([s[0] for _, s in chosen], [s[column] for _, s in chosen], marker, color=colour, label=label)
        for trial, scores in scored:
            if _on(front, trial):
                axes.annotate(trial.trial, (scores[0], scores[column]), xytext=(4, 4), textcoords="offset points", fontsize=7)
        axes.margins(0.12)
        axes.set_xlabel(score_label(plan), fontsize=8)
        axes.set_ylabel(f"score of {shortened(objective.metric, 40)} ({objective.mode})", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    grid[0].legend(frameon=False, fontsize=8)
    return figure


def _on(front: Collection[str], trial: TrialRecord) -> bool:
    return trial.trial in front


@dataclass(frozen=True)
class _Axis:
    """One coordinate: where a value stands between 0 and 1, and what is written beside it."""

    name: str
    place: Callable[[Value], float]
    ticks: Sequence[tuple[float, str]]


def parallel_coordinates(plan: Plan, state: SearchState) -> Figure:
    """Every trial as a line through its hyperparameters to its score; the better, the lighter and the further in front.

    Every field that varies is shown; where there are many they stand in rows, each of which ends with the score.
    """
    trials = state.ranked()[::-1]
    fields = varied(plan, trials)
    rows = [list(part) for part in np.array_split(np.array(fields, dtype=object), -(-len(fields) // _COORDINATES))]
    longest = max(map(len, rows)) + 1
    figure, grid = panels(len(rows), columns=1, width=max(6.8, 1.05 * longest), height=4.4)
    for axes, part in zip(grid, rows, strict=True):
        _coordinates(axes, trials, part)
    figure.supxlabel(score_label(plan).replace("\n", " "), fontsize=8)
    return figure


def _coordinates(axes: Axes, trials: Sequence[TrialRecord], fields: Sequence[Field]) -> None:
    scores = [float(trial.score or 0.0) for trial in trials]
    coordinates = [_axis(field, [trial.config.get(field.name) for trial in trials]) for field in fields]
    coordinates.append(_straight_axis("score", scores))
    axes.spines[:].set_visible(False)
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


def _straight_axis(name: str, values: Sequence[float]) -> _Axis:
    low, spread = min(values), max(values) - min(values)
    if not spread:
        return _Axis(name, lambda value: 0.5, [(0.5, f"{low:.4g}")])
    ticks = [(place, f"{low + place * spread:.4g}") for place in (0.0, 0.5, 1.0)]
    return _Axis(name, lambda value: (_number(value) - low) / spread, ticks)


def importance_bars(importance: Importance) -> Figure:
    """Importance of each hyperparameter, with what pure noise would give."""
    rows = sorted(importance.shares, key=importance.shares.__getitem__)
    left_out = ", ".join(f"{name} ({count})" for name, count in importance.left_out.items())
    note = textwrap.wrap(importance.doubt, 90)
    if left_out:
        note += textwrap.wrap(f"Left out, one value in all trials or active in fewer than {FEWEST} (in how many): {left_out}", 90)
    figure, axes = panel(width=6.8, height=1.4 + 0.3 * len(rows) + 0.16 * len(note))
    axes.barh(rows, [importance.shares[name] for name in rows], color=COLOURS[0], height=0.6)
    noise = [importance.noise[name] for name in rows]
    label = "95 % of shuffled scores stay left of this"
    axes.plot(noise, range(len(rows)), "|", color=COLOURS[1], markersize=12, markeredgewidth=2, label=label)
    axes.set_xlim(0, None)
    axes.set_xlabel(f"importance: PED-ANOVA over {importance.num_trials} trials,\nthose stopped early with their best so far")
    if note:
        figure.supxlabel("\n".join(note), fontsize=7)
    figure.legend(frameon=False, loc="outside upper right")
    return figure


def slices(plan: Plan, state: SearchState) -> Figure:
    """The score over each hyperparameter: filled for trials that ran to their end, hollow for those stopped early."""
    trials = state.ranked()
    fields = varied(plan, trials)
    # A single row must have room for what stands beside it.
    figure, grid = panels(len(fields), columns=4, width=2.4, height=2.0 if len(fields) > 4 else 3.2)
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
    figure.supylabel(score_label(plan), fontsize=8)
    return figure


def rung_survival(plan: Plan, state: SearchState) -> Figure:
    """Trials that went on past each epoch; the scheduler's rungs are dashed."""
    delays = [plan.delay_of(trial.config) for trial in state.trials.values()]
    lasts = [trial.last_epoch - delay for trial, delay in zip(state.trials.values(), delays, strict=True)]
    figure, axes = panel(width=6.8, height=3.6)
    if not lasts:
        nothing(axes, "nothing to draw: there is no trial")
        return figure
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
    spread = high - low
    places = (0.0, 0.5, 1.0) if spread else (0.5,)
    ticks = [(place, f"{back(low + place * spread):.3g}") for place in places]
    if with_inactive:
        ticks.append((-0.1, _INACTIVE))
    return _Axis(field.name, lambda v: -0.1 if v is None else (scale(_number(v)) - low) / spread if spread else 0.5, ticks)


def _number(value: Value) -> float:
    return float(value or 0.0)


def _text(value: Value) -> str:
    return _INACTIVE if value is None else format_value(value)


@plain_text
def pictures_of_search(plan: Plan, state: SearchState, importance: Importance | None) -> Mapping[str, Figure]:
    """Every picture of a search that it has enough trials for, by name.

    Args:    plan, state: of the search.
             importance: of its hyperparameters, None when there are too few trials.
    """
    found = {"best_so_far": best_so_far(plan, state), "rung_survival": rung_survival(plan, state)}
    ranked = state.ranked()
    if plan.further_objectives and any(trial.scores(plan.objectives) is not None for trial in ranked):
        found["pareto_front"] = pareto_front(plan, state)
    if len(ranked) > 1 and varied(plan, ranked):
        found |= {"parallel_coordinates": parallel_coordinates(plan, state), "slices": slices(plan, state)}
    if importance is not None:
        found["importance"] = importance_bars(importance)
    return found
