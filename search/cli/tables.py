"""Results as people read them."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from search.cli.options import duration_text, number, out
from search.records.mirror import shown
from spaces.fields import Value, fields_of, format_value
from trainables.tasks import TASKS

#: Characters; a longer name in a table's first column is folded.
_LONG_NAME = 48


def show_rows(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout; columns of numbers are flush right."""
    table = Table(title=escape(title), title_justify="left")
    for index, heading in enumerate(headings):
        numeric = all(row[index][:1] in "-–0123456789" for row in rows)
        # Names and numbers must be readable whole, and copied; only prose may be folded, and names that leave no room for more.
        short = index == 0 and all(len(row[0]) <= _LONG_NAME for row in rows)
        table.add_column(heading, justify="right" if numeric else "left", overflow="fold", no_wrap=numeric or short)
    for row in rows:
        table.add_row(*map(escape, row))
    out.print(table)


def show_leaderboard(title: str, rows: Sequence[dict[str, Any]], limit: int | None = None) -> None:
    """Trials, best first: why each stopped, best epoch, cost."""
    shown = rows[:limit]
    further = list(next((row["scores"] for row in rows if row["scores"]), {}))[1:]
    headings = ("trial", "score", "value", *further, *(["front"] if further else []), "epoch", "of", "state", "why", "time")
    show_rows(
        title,
        headings,
        [
            (
                row["trial"],
                number(row["score"]),
                number(row["value"]),
                *(number(row["scores"].get(metric)) for metric in further),
                *(["*" if row["pareto"] else ""] if further else []),
                str(row["epoch"] or "–"),
                str(row["epochs"]),
                row["state"],
                row["reason"] or "–",
                duration_text(row["seconds"]),
            )
            for row in shown
        ],
    )
    if len(shown) < len(rows):
        out.print(f"… and {len(rows) - len(shown)} more")


def show_search(
    title: str, found: Any, rows: Sequence[dict[str, Any]], predictions: Sequence[dict[str, Any]], tradeoff: Any
) -> None:
    """Leaderboard, limits, Pareto fronts, and how well early rungs predict late ones."""
    show_leaderboard(title, rows)
    plan = found.plan
    if plan.constraints:
        outside = sum(row["within_limits"] is False for row in rows)
        limits = ", ".join(map(str, plan.constraints))
        out.print(f"limits: {limits}; {outside} of {len(rows)} trials do not keep them and stand last", markup=False)
    if plan.further_objectives:
        out.print(f"Pareto front: {', '.join(row['trial'] for row in rows if row['pareto']) or 'empty'}", markup=False)
    if tradeoff is not None:
        front = ", ".join("{} ({:.3f}, {:.3f})".format(trial, *tradeoff.points[trial]) for trial in tradeoff.front)
        out.print(f"diagnosis against explanation ({tradeoff.explanation.metric}), Pareto front: {front}", markup=False)
    for pair in predictions:
        out.print(prediction(pair), markup=False)


def prediction(pair: dict[str, Any]) -> str:
    """How well one rung predicts the next, in words."""
    return (
        f"epoch {pair['rung']} predicts epoch {pair['later']} with a rank correlation of {pair['observed']:.2f} over"
        f" {pair['num_trials']} trials ({pair['estimate']:.2f} had none been stopped in between)"
    )


def show_config(task: str, config: dict[str, Any], title: str = "Best configuration") -> None:
    """A configuration beside the paper's."""
    fields = fields_of(TASKS[task].space)
    searched = [name for name, field in fields.items() if field.searched]
    show_rows(
        title,
        ("field", "value", "paper's"),
        [(name, short(config[name]), short(fields[name].default)) for name in searched],
    )


def short(value: Value) -> str:
    """A value as a person reads it: four digits of a number; the exact one is in `--json`."""
    return f"{value:.4g}" if isinstance(value, float) else format_value(value)


def show_result(result: Any, storage: Path, page: Path | None = None) -> None:
    """Leaderboard, best configuration, checkpoint, report, and what to type next."""
    from search.analysis.leaderboard import RecordedSearch, trial_rows

    plan, table, best = result.plan, result.table, result.best
    rows = trial_rows(RecordedSearch(result.folder, plan, table))
    show_leaderboard(f"{plan.name}: {plan.objective.metric} ({plan.objective.mode})", rows, limit=10)
    if best is None:
        out.print(f"no trial reported anything; see: dermtune show {plan.name}")
        return
    show_config(plan.task, dict(best.config))
    stopped = table.count("stopped")
    out.print(
        f"\nBest: {best.trial} at epoch {best.best_epoch}: {plan.objective.metric} {number(best.value)}"
        f" (score {number(best.score)}, the mean of the last three validations)"
        f"\nTrials: {len(table.trials)} of {plan.num_trials}, {stopped} stopped early, {table.count('failed')} failed;"
        f" {duration_text(table.wall_s)}"
        f"\nPicked as the best of many noisy validations: on fresh seeds expect less."
        f"\nCheckpoint: {_from_here(result.checkpoint(best))}" + ("" if page is None else f"\nReport: {_from_here(page)}"),
        markup=False,
    )
    where = "" if storage == Path("runs").resolve() else f" --storage {shlex.quote(shown(storage))}"
    out.print("\nNext:")
    lines = [(f"dermtune show {plan.name}{where}", "all trials"), (f"dermtune ui{where}", "compare in MLflow's page")]
    lines.insert(1, (f"dermtune best {plan.name} --out winner{where}", "take the checkpoint"))
    rivals = sum(not trial.excess(plan.constraints) for trial in table.ranked())
    if rivals > 1:
        top = min(rivals, 5)
        lines.insert(2, (f"dermtune confirm {plan.name} --top {top}{where}", "is it the best on fresh seeds as well?"))
    if plan.source is not None:
        # `--data` expands the tilde itself, quoted or not.
        source = shlex.quote(plan.source.replace(f":{Path.home()}/", ":~/"))
        lines.append((f"dermtune evaluate winner/{best.trial} --data {source}{where}", "its metrics"))
        lines.append((f"dermtune predict winner/{best.trial} IMAGE...", "what it says of an image"))
    for command, meaning in lines:
        out.print(f"  {command}  # {meaning}", markup=False)


def _from_here(path: Path | None) -> str:
    """A path as one would type it: relative when it lies below the working directory."""
    if path is None:
        return "not kept"
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def show_estimate(plan: Any, found: Any) -> None:
    """What a search would cost."""
    show_rows(
        f"{plan.num_trials} trials of up to {plan.max_epochs} epochs, each as long as the paper's configuration takes",
        ("what", "expected"),
        [
            ("one epoch", f"{found.epoch_s:.2f} s"),
            ("trials at once", str(found.trials_at_once)),
            ("time", f"{duration_text(3600 * found.hours)}; {duration_text(3600 * found.hours_at_most)} if no trial is stopped"),
            ("disk", f"{found.disk_mib:.0f} MiB of checkpoints"),
        ],
    )


def show_confirmation(verdict: Any, page: Path) -> None:
    """Who won on fresh seeds, and by how much."""
    folds = f" on each of {verdict.num_folds} folds" if verdict.num_folds > 1 else ""
    show_rows(
        f"{verdict.search}: {verdict.metric} ({verdict.mode}) on {verdict.num_seeds} fresh seeds{folds}",
        ("trial", "claimed", "confirmed [95 %]", "to the winner [95 %]", ""),
        [
            (
                s.trial,
                number(s.claimed, 3),
                _with_interval(s.mean, s.interval),
                _with_interval(s.difference, s.difference_interval),
                s.finding + (" (dropped)" if s.out and "dropped" in s.out else " (failed)" if s.out else ""),
            )
            for s in verdict.standings
        ],
    )
    out.print(f"\n{verdict.sentence}", markup=False)
    if verdict.curse is not None:
        way = "worse" if verdict.curse > 0 else "better"
        out.print(f"The search's best, {verdict.claimed_best}, did {abs(verdict.curse):.4f} {way} than claimed.", markup=False)
    if verdict.test_note:
        out.print(verdict.test_note, markup=False)
    out.print(f"Checkpoint: {verdict.checkpoint or 'none'}\nReport: {page}", markup=False)


def _with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    """`0.912 [0.893, 0.931]`."""
    return number(value, 3) + (f" [{number(interval[0], 3)}, {number(interval[1], 3)}]" if interval is not None else "")


#: What a reproduction shows of each experiment on a screen; its page has everything.
_REPRODUCED = {"criteria/recall": "criteria: recall", "melanoma/auroc": "melanoma: AUC", "structures/map": "masks: mAP"}


def show_reproduction(document: Mapping[str, Any], page: Path) -> None:
    """Every experiment's main numbers with their intervals, the paper's below them, and the page."""
    measured = [row for row in document["experiments"] if row["metrics"]]
    shown = {name: text for name, text in _REPRODUCED.items() if any(name in row["metrics"] for row in measured)}
    rows = [(row["experiment"], *(_reproduced(row["metrics"].get(name)) for name in shown)) for row in measured]
    title = f"{document['name']}: {document['split']} split of {document['source']}, {document['num_seeds']} seeds"
    show_rows(title, ("experiment", *shown.values()), rows)
    if document["other_data"] is not None:
        out.print(f"These are not the paper's data: {document['other_data']}.", markup=False)
    out.print(f"{document['note']}\nPage: {_from_here(page)}", markup=False)


def _reproduced(metric: Mapping[str, Any] | None) -> str:
    if metric is None:
        return "–"
    interval = "" if metric["interval"] is None else " [{:.2f}, {:.2f}]".format(*metric["interval"])
    paper = "" if metric["paper"] is None else f"\npaper {metric['paper']:.2f}"
    return f"{metric['mean']:.2f}{interval}{paper}"
