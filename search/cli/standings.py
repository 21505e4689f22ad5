"""Leaderboards, and what came of a search, as people read them."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.cli.options import duration_text, number, out
from search.cli.tables import from_here, show_config, show_rows
from search.records.mirror import shown
from search.records.plan import Plan
from search.records.standing import baseline_of, failure_reasons, is_constant, score_words, tied_with, why_none
from search.records.state import SearchState
from search.records.trials import TrialRecord
from trainables.contract import SCORE_WINDOW
from trainables.places import home

_MARK = "†"
#: A confirmation that is to hold the paper's configuration is not proposed with more rivals than these.
_MOST_RIVALS = 10


def show_leaderboard(plan: Plan, state: str | None, rows: Sequence[dict[str, Any]], limit: int | None = None) -> None:
    """Trials, best first: every metric at the checkpoint's epoch, what ranks, how each ended, cost; the paper's always.

    Args:    plan: of the search.
             state: of it, None where that need not be said.
             rows: see `search.analysis.leaderboard.trial_rows`.
             limit: rows shown at most, None for all.
    """
    listed = list(rows[:limit])
    listed += [row for row in rows[len(listed) :] if row["paper"]]
    metrics = list(next((row["values"] for row in rows if row["values"]), {}))
    scored = plan.ranked_by == "score"
    several, partial = len(metrics) > 1, scored and any(row["window"] not in (None, SCORE_WINDOW) for row in listed)
    headings = (
        "trial",
        *(["score"] if scored else []),
        *(["mean of"] if partial else []),
        *(metrics if several else ["value"]),
        *(["front"] if several else []),
        "epoch",
        "state",
        "time",
    )
    cells = [
        (
            row["trial"] + (f" {_MARK}" if row["paper"] else ""),
            *([number(row["score"])] if scored else []),
            *(["–" if row["window"] is None else str(row["window"] or "too early")] if partial else []),
            *([number(row["values"].get(metric)) for metric in metrics] if several else [number(row["value"])]),
            *(["*" if row["pareto"] else ""] if several else []),
            f"{row['epoch'] or '–'} of {row['epochs']}",
            row["state"] if row["reason"] is None else f"{row['state']}: {row['reason']}",
            duration_text(row["seconds"]),
        )
        for row in listed
    ]
    by = "" if scored else "; runs by value"
    named = plan.name if state is None else f"{plan.name} ({state})"
    show_rows(f"{named}: {plan.objective.metric} ({plan.objective.mode}){by}", headings, cells)
    if len(listed) < len(rows):
        out.print(f"… and {len(rows) - len(listed)} more")


def show_search(
    found: Any, rows: Sequence[dict[str, Any]], predictions: Sequence[dict[str, Any]], tradeoff: Any, gain: Any
) -> None:
    """Leaderboard, gain over the paper, limits, Pareto fronts, and how well early rungs predict late ones.

    Args:    gain: what a confirmation says of it, None when there is none (see `search.analysis.leaderboard`).
    """
    plan, state = found.plan, found.state
    show_leaderboard(plan, found.status, rows)
    windows = {row["window"] for row in rows} - {None}
    if len(windows) > 1 and plan.ranked_by == "score":
        out.print("“mean of”: validations in a score; one over fewer never ranks before one over more")
    if 0 in windows and plan.ranked_by == "score":
        out.print("“too early”: in these epochs the objective was not trained yet; any later score ranks before it")
    for line in _about(plan, state, gain):
        out.print(line, markup=False)
    if plan.constraints:
        outside = sum(row["within_limits"] is False for row in rows)
        limits = ", ".join(map(str, plan.constraints))
        out.print(f"limits: {limits}; {outside} of {len(rows)} trials do not keep them and stand last", markup=False)
    if plan.further_objectives:
        front = ", ".join(row["trial"] for row in rows if row["pareto"]) or "empty"
        out.print(f"Pareto front, by each metric's mean over the validations of the score: {front}", markup=False)
    if tradeoff is not None:
        front = ", ".join("{} ({:.3f}, {:.3f})".format(trial, *tradeoff.points[trial]) for trial in tradeoff.front)
        out.print(
            f"{tradeoff.subject} ({tradeoff.objective.metric}) against explanation ({tradeoff.explanation.metric}), both as means"
            f" like the score, Pareto front: {front}",
            markup=False,
        )
    for pair in predictions:
        out.print(prediction(pair), markup=False)


def prediction(pair: dict[str, Any]) -> str:
    """How well one rung predicts the next, in words."""
    return (
        f"epoch {pair['rung']} predicts epoch {pair['later']} with a rank correlation of {pair['observed']:.2f} over"
        f" {pair['num_trials']} trials ({pair['estimate']:.2f} had none been stopped in between)"
    )


def _about(plan: Plan, state: SearchState, gain: Any = None) -> list[str]:
    """What a leaderboard does not say by itself: nobody is best, nothing distinguishes the trials, what has been gained."""
    if state.best is None:
        return [why_none(plan, state)]
    lines = []
    if is_constant(state):
        lines.append(_constant(plan, state))
    elif len(tied := tied_with(state, state.best)) > 1:
        lines.append(f"{len(tied)} trials share the best score: {state.best.trial} is the first of them")
    if (baseline := baseline_of(plan, state)) is not None:
        lines += [f"{_MARK} {line}" for line in baseline.sentences(plan.name, gain)]
    return lines


def _constant(plan: Plan, state: SearchState) -> str:
    scored = [trial for trial in state.trials.values() if trial.score is not None and trial.state != "failed"]
    return (
        f"nothing distinguishes the trials: {plan.objective.metric} has the same score, {number(scored[0].score)}, in all"
        f" {len(scored)} (choose another --metric, or look whether the validation split can tell)"
    )


def show_result(result: Any, storage: Path, page: Path | None = None, command_s: float | None = None) -> None:
    """Leaderboard, best configuration, checkpoint, report, and what to type next.

    Args:    result, storage: of the search.
             page: its report.
             command_s: seconds since the command began, which are more than those of the trials, or fewer where others ran them.
    """
    from search.analysis.leaderboard import RecordedSearch, trial_rows

    plan, state, best = result.plan, result.state, result.best
    where = storage_flag(storage)
    rows = trial_rows(RecordedSearch(result.folder, plan, state))
    show_leaderboard(plan, None, rows, limit=10)
    if best is None:
        out.print(f"{why_none(plan, state)}\nsee: {_where_to_look(plan, state)}{where}", markup=False)
        return
    stopped, constant = state.count("stopped"), is_constant(state)
    show_config(plan.task, dict(best.config), title=f"Configuration of {best.trial}" if constant else "Best configuration")
    out.print(
        f"\n{'First of equals' if constant else 'Best'}: {best.trial} at epoch {best.best_epoch}: {plan.objective.metric}"
        f" {number(best.value)} (score {number(best.score)}, {score_words(best)})"
        + "".join(f"\n{_sentence(line)}" for line in _about(plan, state))
        + f"\nTrials: {len(state.trials)} of {plan.num_trials}, {stopped} stopped early, {state.count('failed')} failed;"
        f" they took {duration_text(state.wall_s)}"
        + ("" if command_s is None else f", the whole command {duration_text(command_s)}")
        + ("" if constant else "\nPicked as the best of many noisy validations: on fresh seeds expect less.")
        + f"\nCheckpoint: {from_here(result.checkpoint(best))}"
        + ("" if page is None else f"\nReport: {from_here(page)}"),
        markup=False,
    )
    out.print("\nNext:")
    for command, meaning in _next_commands(plan, state, best, where):
        out.print(f"  {command}  # {meaning}", markup=False)


def storage_flag(storage: Path) -> str:
    """What names a storage in a command, behind a space; nothing for the default one."""
    return "" if storage == Path("runs").resolve() else f" --storage {shlex.quote(shown(storage))}"


def _sentence(text: str) -> str:
    return text if text.startswith(_MARK) else f"{text[0].upper()}{text[1:]}."


def _where_to_look(plan: Plan, state: SearchState) -> str:
    """The command that shows more of why nothing is best."""
    reasons = failure_reasons(state)
    if state.leader is None and reasons:
        return f"dermtune show {plan.name} {reasons[0].trials[0]}"
    return f"dermtune show {plan.name}"


def _next_commands(plan: Plan, state: SearchState, best: TrialRecord, where: str) -> list[tuple[str, str]]:
    """What to type next, and what for."""
    lines = [
        (f"dermtune show {plan.name}{where}", "all trials"),
        (f"dermtune best {plan.name} --out best-of-{plan.name}{where}", "take the checkpoint"),
    ]
    rivals = [trial.trial for trial in state.ranked() if not trial.excess(plan.constraints)]
    if len(rivals) > 1:
        baseline = baseline_of(plan, state)
        place = rivals.index(baseline.trial.trial) + 1 if baseline is not None and baseline.trial.trial in rivals else 0
        top = max(min(len(rivals), 5), place if place <= _MOST_RIVALS else 0)
        beside = f" ({rivals[place - 1]}, the paper's, among them)" if 0 < place <= top else ""
        beside = f" (--top {place} for the paper's, {rivals[place - 1]}, as well)" if place > top else beside
        lines.append((f"dermtune confirm {plan.name} --top {top}{where}", f"is it the best on fresh seeds as well?{beside}"))
    lines.append((f"dermtune ui{where}", "compare in MLflow's page"))
    if plan.source is not None:
        # `--data` expands the tilde itself, quoted or not.
        own = home()
        source = shlex.quote(plan.source if own is None else plan.source.replace(f":{own}/", ":~/"))
        lines.append((f"dermtune evaluate best-of-{plan.name}/{best.trial} --data {source}{where}", "its metrics"))
        lines.append((f"dermtune predict best-of-{plan.name}/{best.trial} IMAGE...", "what it says of an image"))
    return lines
