"""What a search's explanations are worth: beside what was searched for, over its best trials, and over seeds."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure

from search.analysis.common_explanations import SharingSpread, spread_of
from search.analysis.confirmed import latest_confirmation, winners_checkpoints
from search.analysis.figures import COLOURS, panel, plain_text
from search.analysis.leaderboard import RecordedSearch, Tradeoff, tradeoff_of
from search.analysis.narration import spread_text
from search.analysis.page import picture, table
from search.analysis.trial_figures import sharing_spread
from search.analysis.verdict import read_verdict
from trainables.errors import DermtuneError
from trainables.explanation import Explanation
from trainables.tasks import TASKS

_EXPLAINING = ("valid/gates/", "model/gate_sharing", "valid/gazes/")


@plain_text
def tradeoff_figure(tradeoff: Tradeoff) -> Figure:
    """Every trial as a point, those on the front named and joined."""
    figure, axes = panel(width=6.4, height=4.2)
    others = [points for trial, points in tradeoff.points.items() if trial not in tradeoff.front]
    front = sorted((tradeoff.points[trial], trial) for trial in tradeoff.front)
    axes.plot([x for x, _ in others], [y for _, y in others], "o", color=COLOURS[5], markersize=5, label="not on it")
    axes.plot(
        [x for (x, _), _ in front], [y for (_, y), _ in front], "o-", color=COLOURS[1], markersize=6, label="on the Pareto front"
    )
    for (x, y), trial in front:
        axes.annotate(trial, (x, y), xytext=(4, 4), textcoords="offset points", fontsize=7)
    axes.margins(0.12)
    axes.set_xlabel(f"{tradeoff.subject}: {tradeoff.objective.metric} ({tradeoff.objective.mode})")
    axes.set_ylabel(f"explanation: {tradeoff.explanation.metric} ({tradeoff.explanation.mode})")
    axes.legend(frameon=False, fontsize=8)
    return figure


@dataclass(frozen=True)
class CommonExplanations:
    """What the explanations of a search's best trials have in common.

    Args:    tradeoff: what was searched for against explanation, over all trials.
             metrics: explanation metric → its value in each of the best trials.
             over_best: what tasks share over the best trials, None for a task without gates.
             over_seeds: the same over fresh seeds of the confirmed winner, None without a confirmation.
             winner: that trial.
             notes: why there is less to show of some of the best trials, a sentence each.
    """

    tradeoff: Tradeoff | None = None
    metrics: Mapping[str, Sequence[float]] = field(default_factory=dict)
    over_best: SharingSpread | None = None
    over_seeds: SharingSpread | None = None
    winner: str | None = None
    notes: Sequence[str] = ()

    @property
    def pictures(self) -> dict[str, Figure]:
        """Every picture that there is, by name."""
        found = {}
        if self.tradeoff is not None:
            found["objective_and_explanation"] = tradeoff_figure(self.tradeoff)
        for name, spread in (("sharing_of_the_best", self.over_best), ("sharing_over_seeds", self.over_seeds)):
            if spread is not None and spread.num_networks > 1 and spread.moved:
                found[name] = sharing_spread(spread)
        return found

    def text(self, owner: str, drawn: Collection[str]) -> str:
        """As Markdown; "" where there is nothing to say.

        Args:    owner: the pictures' names begin with it.
                 drawn: names of the pictures that there are.
        """
        parts = [*self.notes]
        if self.tradeoff is not None:
            compared = f"{self.tradeoff.objective.metric} ({self.tradeoff.subject}) and explanation"
            parts.append(f"Pareto front of {compared}: {', '.join(self.tradeoff.front)}.")
            parts += [picture(f"{owner}-{name}") for name in ("objective_and_explanation",) if name in drawn]
        if self.metrics:
            parts.append(table(("over the best trials", "mean", "deviation", "trials"), [*map(_row, self.metrics.items())]))
        for name, title, spread in (
            ("sharing_of_the_best", "What tasks have learnt to share in the best trials", self.over_best),
            ("sharing_over_seeds", f"What tasks have learnt to share in {self.winner} on fresh seeds", self.over_seeds),
        ):
            if spread is not None and spread.num_networks > 1:
                parts += [f"**{title}**", *([picture(f"{owner}-{name}")] if name in drawn else []), spread_text(spread)]
        return "\n\n".join(parts)


def _row(metric: tuple[str, Sequence[float]]) -> tuple[str, str, str, str]:
    name, values = metric
    deviation = f"{np.std(values, ddof=1):.3f}" if len(values) > 1 else "–"
    return name, f"{np.mean(values):.3f}", deviation, str(len(values))


def common_explanations(found: RecordedSearch, explained: Mapping[str, Explanation]) -> CommonExplanations:
    """What is known of a search's explanations.

    Args:    found: the search.
             explained: of its best trials.
    """
    metrics: dict[str, list[float]] = {}
    for trial in explained:
        for name, value in found.state.trials[trial].best_metrics.items():
            if name.startswith(_EXPLAINING):
                metrics.setdefault(name, []).append(value)
    sharings = [explanation.sharing for explanation in explained.values() if explanation.sharing is not None]
    winner, over_seeds = _over_seeds(found)
    notes = tuple(dict.fromkeys(explanation.note for explanation in explained.values() if explanation.note))
    return CommonExplanations(tradeoff_of(found), metrics, spread_of(sharings), over_seeds, winner, notes)


def _over_seeds(found: RecordedSearch) -> tuple[str | None, SharingSpread | None]:
    """The confirmed winner, and what tasks share in its runs."""
    if found.plan.kind != "search":
        return None, None
    try:
        confirmation = latest_confirmation(found.folder.storage, found.plan.name)
        verdict = read_verdict(confirmation.folder.path)
        if verdict is None or verdict.winner is None:
            return None, None
        task = TASKS[found.plan.task].load()
        explained = [task.explain_model(folder) for folder in winners_checkpoints(confirmation, verdict.winner)]
    except DermtuneError:  # no confirmation, or its checkpoints are gone
        return None, None
    return verdict.winner, spread_of([explanation.sharing for explanation in explained if explanation.sharing is not None])
