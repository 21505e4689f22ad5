"""Plans run before the user's eyes, whatever they plan, and what came of them shown."""

import json
from typing import Any

from search.cli.bars import bar
from search.cli.options import Context, duration_text, err, out
from search.cli.publishing import publish
from search.cli.tables import show_confirmation, show_reproduction, show_result
from trainables.tasks import TASKS


def _train(context: Context, plan: Any, *, resumed: bool = False) -> Any:
    """Runs or resumes a plan before the user's eyes; gives its result."""
    from search.cli.live import SearchView
    from search.execution.processes import imports
    from search.execution.ray_session import ray_session

    views: list[SearchView] = []

    def listeners(plan: Any, table: Any) -> list[Any]:
        views.append(SearchView(plan, table, err))
        return [views[-1].on_event]

    at_once = "as many at once as fit" if plan.max_concurrent is None else f"{plan.max_concurrent} at once"
    err.print(f"{plan.kind} {plan.name}: {plan.num_trials} trials, {at_once}; starting Ray", markup=False)
    try:
        with ray_session(context.address, imports(plan.task)):
            # MLflow and Optuna take seconds to import, as do the modules that Ray's processes import meanwhile.
            from search.execution.session import resume_search, run_search

            result = (resume_search if resumed else run_search)(
                plan, context.storage, tracking_uri=context.uri(), address=context.address, listeners=listeners
            )
    finally:
        for view in views:
            view.close()
    if result.tracking_error is not None:
        err.print(
            f"MLflow does not have everything: {result.tracking_error} (dermtune doctor {plan.name} --repair)", markup=False
        )
    if result.ended == "interrupted":
        err.print(f"interrupted; everything so far is saved. Go on with: dermtune resume {plan.name}", markup=False)
    return result


def warn_of_cost(plan: Any) -> None:
    """Says what a plan of the paper's size costs without a GPU, before it begins."""
    if plan.preset != "paper" or plan.gpus_per_trial != 0 or not TASKS[plan.task].formats:
        return
    from search.analysis.dry_run import estimate

    err.print("no GPU here: measuring a few batches of the paper's configuration")
    cost = estimate(plan)
    err.print(
        f"expect about {duration_text(3600 * cost.hours)}, or {duration_text(3600 * cost.hours_at_most)} if no trial is"
        f" stopped, at {cost.epoch_s:.1f} s an epoch of the paper's configuration, {cost.trials_at_once} trials at once"
        " (--trials, --max-epochs and smaller images by --set make it less)"
    )


def run_to_end(context: Context, plan: Any, *, pictures: bool = True, resumed: bool = False) -> int:
    """Runs or resumes a plan and shows what came of it; gives the exit status."""
    result = _train(context, plan, resumed=resumed)
    if plan.kind == "search":
        return _show_search(context, result, pictures=pictures)
    if result.ended == "interrupted":
        return 130
    return (_show_confirmation if plan.kind == "confirmation" else _show_reproduction)(context, plan.name)


def _show_search(context: Context, result: Any, *, pictures: bool) -> int:
    page = None
    if pictures and result.ended != "interrupted" and result.best is not None:
        page = publish(context, result.plan.name).page
    document = {**result.summary(), "report": None if page is None else str(page)}
    context.emit(document, lambda: show_result(result, context.storage, page))
    if result.ended == "interrupted":
        return 130
    return 0 if result.best is not None else 1


def _show_confirmation(context: Context, name: str) -> int:
    from search.analysis.confirmation import confirm_search
    from search.analysis.confirmation_report import read_report, write_report
    from search.analysis.leaderboard import open_search

    found = open_search(context.storage, name)
    verdict = read_report(found.folder.path)
    if verdict is None:
        with bar("measuring without each case") as progress:
            verdict = confirm_search(found, found.folder.storage, progress)
    page = write_report(verdict, found.folder.path)
    _put_by(found, "confirmation.*")
    context.emit({**verdict.to_json(), "report": str(page)}, lambda: show_confirmation(verdict, page))
    return 0 if verdict.winner is not None else 1


def _show_reproduction(context: Context, name: str) -> int:
    from search.analysis.leaderboard import open_search
    from search.analysis.reproduction import reproduced
    from search.analysis.reproduction_page import write_reproduction, written

    found = open_search(context.storage, name)
    if not found.table.count("finished"):
        context.emit(
            {"name": name, "experiments": [], "report": None}, lambda: out.print(f"no run ended well; see: dermtune show {name}")
        )
        return 1
    if (page := written(found.folder.path)) is None:
        # Once only: every reading of the test split spends a little of what it is worth.
        with bar("measuring checkpoints") as progress:
            page = write_reproduction(reproduced(found, progress), found.folder.path)
        _put_by(found, "reproduction*")
    document = json.loads(page.with_suffix(".json").read_text())
    context.emit({**document, "report": str(page)}, lambda: show_reproduction(document, page))
    return 0


def _put_by(found: Any, pattern: str) -> None:
    """Brings a search's own pages to where it keeps everything."""
    for file in sorted(found.folder.path.glob(pattern)):
        found.folder.publish(file)
