"""Plans run before the user's eyes, whatever they plan, and what came of them shown."""

import json
import time
from typing import Any

import click

from search.cli.bars import bar
from search.cli.options import Context, err, out
from search.cli.publishing import publish
from search.cli.standings import show_result, show_search, storage_flag
from search.cli.tables import estimate_text, show_confirmation, show_reproduction
from search.records.folder import SearchFolder
from search.records.standing import reported
from trainables.tasks import TASKS


def _train(context: Context, plan: Any, *, pictures: bool, resumed: bool = False) -> Any:
    """Runs or resumes a plan before the user's eyes; gives its result."""
    from search.analysis.dry_run import closing_here
    from search.cli.live import SearchView
    from search.execution.processes import imports
    from search.execution.ray_session import ray_session

    views: list[SearchView] = []
    begun = time.monotonic()

    def listeners(plan: Any, state: Any) -> list[Any]:
        views.append(SearchView(plan, state, err, closing_here(plan, pictures=pictures, start_s=time.monotonic() - begun)))
        return [views[-1].on_event]

    at_once = "as many at once as fit" if plan.max_concurrent is None else f"{plan.max_concurrent} at once"
    err.print(f"{plan.kind} {plan.name}: {_amount(plan)}, {at_once}{_ranked(plan)}; starting Ray", markup=False)
    try:
        with ray_session(context.address, imports(plan.task)):
            # MLflow and Optuna take seconds to import, as do the modules that Ray's processes import meanwhile.
            from search.execution.session import resume_search, run_search

            result = (resume_search if resumed else run_search)(
                plan, context.storage, tracking_uri=context.uri(), address=context.address, listeners=listeners
            )
    except KeyboardInterrupt:
        begun = SearchFolder(context.storage, plan.name).exists()
        err.print(
            _go_on(context, plan.name, heard=resumed) if begun else "interrupted before the first trial; nothing is left of it",
            markup=False,
        )
        raise click.exceptions.Exit(130) from None
    finally:
        for view in views:
            view.close()
    if result.tracking_error is not None:
        err.print(
            f"MLflow does not have everything: {result.tracking_error} (dermtune doctor {plan.name} --repair)", markup=False
        )
    if result.ended == "interrupted":
        err.print(_go_on(context, plan.name, heard=bool(reported(result.state))), markup=False)
    return result


def _go_on(context: Context, name: str, *, heard: bool) -> str:
    saved = "everything so far is saved" if heard else "no trial had reported anything yet"
    return f"interrupted; {saved}. Go on with: dermtune resume {name}{storage_flag(context.storage)}"


def _ranked(plan: Any) -> str:
    """What a search goes by, which nobody may have named."""
    return f", ranked by {plan.objective.metric} ({plan.objective.mode})" if plan.kind == "search" else ""


def _amount(plan: Any) -> str:
    """How much a plan trains: `40 trials`, `15 runs (5 configurations on 3 seeds each)`."""
    confirmation = plan.confirmation
    if confirmation is None:
        return f"{plan.num_trials} {'trials' if plan.kind == 'search' else 'runs'}"
    folds = f" on {confirmation.num_folds} folds" if confirmation.num_folds > 1 else ""
    return (
        f"{plan.num_trials} runs ({len(confirmation.candidates)} configurations, each on {confirmation.num_seeds} seeds{folds})"
    )


def warn_of_cost(plan: Any, *, pictures: bool = True) -> None:
    """Says what a plan of the paper's size costs without a GPU, before it begins."""
    if plan.preset != "paper" or plan.gpus_per_trial != 0 or not TASKS[plan.task].formats:
        return
    from search.analysis.dry_run import estimate

    err.print("no GPU here: measuring a few batches of the paper's configuration")
    cost = estimate(plan, pictures=pictures)
    err.print(
        f"expect {estimate_text(cost)}, at {cost.epoch_s:.1f} s an epoch of the paper's configuration,"
        f" {cost.trials_at_once} trials at once (--trials, --max-epochs and smaller images by --set make it less)"
    )


def run_to_end(context: Context, plan: Any, *, pictures: bool = True, resumed: bool = False) -> int:
    """Runs or resumes a plan and shows what came of it; gives the exit status."""
    result = _train(context, plan, pictures=pictures, resumed=resumed)
    if plan.kind == "search":
        return _show_search(context, result, pictures=pictures)
    if result.ended == "interrupted":
        return 130
    return (_show_confirmation if plan.kind == "confirmation" else _show_reproduction)(context, plan.name)


def show_settled(context: Context, found: Any, *, pictures: bool) -> int:
    """Says that nothing is left to do of a search, and shows what came of it; gives the exit status.

    Args:    found: see `search.analysis.settled.SettledSearch`.
             pictures: whether the JSON document is to name a report, which is written if it is missing.
    """
    from search.analysis import leaderboard

    recorded, plan, state = found.recorded, found.recorded.plan, found.recorded.state
    err.print(found.sentence(storage_flag(context.storage)), markup=False)
    if plan.kind != "search":
        return (_show_confirmation if plan.kind == "confirmation" else _show_reproduction)(context, plan.name)
    if context.json:
        from search.execution.result import SearchResult

        result = SearchResult(plan, recorded.folder, state, {}, str(state.ended), found.settlement.experiment_id)
        page = recorded.folder.path / "report.html" if pictures and state.best is not None else None
        if page is not None and not page.is_file():
            page = publish(context, plan.name).page
        context.emit({**result.summary(), "report": None if page is None else str(page)}, lambda: None)
    else:
        told = leaderboard.rung_predictions(plan, state), leaderboard.tradeoff_of(recorded), leaderboard.confirmed_gain(recorded)
        show_search(recorded, leaderboard.trial_rows(recorded), *told)
    return 0 if state.best is not None else 1


def _show_search(context: Context, result: Any, *, pictures: bool) -> int:
    page = None
    if pictures and result.ended != "interrupted" and result.best is not None:
        page = publish(context, result.plan.name).page
    command_s = round(time.monotonic() - context.begun, 3)
    document = {**result.summary(), "command_s": command_s, "report": None if page is None else str(page)}
    # Before the first report there is nothing to show, and what to do has been said.
    told = result.ended != "interrupted" or reported(result.state)
    context.emit(document, lambda: show_result(result, context.storage, page, command_s) if told else None)
    if result.ended == "interrupted":
        return 130
    return 0 if result.best is not None else 1


def _show_confirmation(context: Context, name: str) -> int:
    from search.analysis.closing import close_confirmation
    from search.analysis.leaderboard import open_search

    with bar("measuring without each case", at_once=False) as progress:
        verdict, page = close_confirmation(open_search(context.storage, name), progress)
    context.emit({**verdict.to_json(), "report": str(page)}, lambda: show_confirmation(verdict, page))
    return 0 if verdict.winner is not None else 1


def _show_reproduction(context: Context, name: str) -> int:
    from search.analysis.closing import close_reproduction
    from search.analysis.leaderboard import open_search

    found = open_search(context.storage, name)
    if not found.state.count("finished"):
        context.emit(
            {"name": name, "experiments": [], "report": None}, lambda: out.print(f"no run ended well; see: dermtune show {name}")
        )
        return 1
    with bar("measuring checkpoints", at_once=False) as progress:
        page = close_reproduction(found, progress)
    document = json.loads(page.with_suffix(".json").read_text())
    context.emit({**document, "report": str(page)}, lambda: show_reproduction(document, page))
    return 0
