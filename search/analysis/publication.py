"""Pictures, page and models of a search that has ended: written to its folder, and onto its runs in MLflow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure

from search.analysis import figures
from search.analysis.constant_predictions import constant_in_explanation
from search.analysis.explained import CommonExplanations, common_explanations
from search.analysis.importance import importance_of
from search.analysis.leaderboard import RecordedSearch
from search.analysis.narration import model_text
from search.analysis.report import EXPLANATIONS, report_page
from search.analysis.search_figures import pictures_of_search
from search.analysis.trial_figures import pictures_of_trial
from search.errors import PlanError
from search.records.tracking.entities import trial_params
from search.records.tracking.logged_models import Candidate
from search.records.tracking.publisher import Publisher
from search.records.tracking.retrying import StoreAway
from search.records.tracking.store import STORE_ERRORS, reason
from search.records.trials import TrialRecord
from trainables.errors import DermtuneError
from trainables.explanation import Explanation
from trainables.served import example_image
from trainables.tasks import TASKS

#: Cases whose gazes are shown.
SHOWN_CASES = 4
_SPLIT = "valid"
Progress = Callable[[int, int], None]


@dataclass
class Publication:
    """What came of it.

    Args:    page: the report.
             models: trial → id of its model in MLflow.
             problems: what could not be drawn or logged and why, a line each; the rest has been.
    """

    page: Path
    models: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def publish(
    found: RecordedSearch,
    uri: str,
    *,
    page: Path | None = None,
    progress: Progress = lambda done, total: None,
    say: Callable[[str], None] = lambda what: None,
) -> Publication:
    """Draws a search and its best trials, writes the report, logs pictures and models; what fails is said, never raised.

    Args:    found: the search.
             uri: of the tracking store.
             page: where the report goes, None for `report.html` in the search's folder.
             progress: called with (done, all).
             say: called with what begins.
    """
    result = Publication(page or found.folder.path / "report.html")
    kept = [trial for trial in found.state.front_first(found.plan.objectives) if trial.checkpoint is not None]
    total = 2 * len(kept) + 2
    say("drawing pictures")
    importance = importance_of(found.plan, found.state)
    search = _drawn(partial(pictures_of_search, found.plan, found.state, importance), found.plan.name, result)
    progress(1, total)
    trials: dict[str, dict[str, bytes]] = {}
    explanations = dict[str, Explanation]()
    for done, trial in enumerate(kept, start=2):
        explained = _explanation(found, trial, result)
        if explained is not None:
            explanations[trial.trial] = explained
        figures_of = _drawn(partial(pictures_of_trial, found.plan, trial, explained), trial.trial, result)
        trials[trial.trial] = {name: figures.png(figure) for name, figure in figures_of.items()}
        progress(done, total)
    common = _in_common(found, explanations, result)
    of_common = _drawn(lambda: common.pictures, found.plan.name, result)
    text = report_page(
        found,
        {name: figures.svg(figure) for name, figure in search.items()},
        {trial: {name: figures.img(png) for name, png in pictures.items()} for trial, pictures in trials.items()},
        common.text(EXPLANATIONS, of_common),
        {name: figures.svg(figure) for name, figure in of_common.items()},
        {trial: model_text(explained) for trial, explained in explanations.items()},
        {trial: constant_in_explanation(explained) for trial, explained in explanations.items()},
        importance,
    )
    result.page.parent.mkdir(parents=True, exist_ok=True)
    result.page.write_text(text)
    found.folder.publish(result.page)
    progress(len(kept) + 2, total)
    say("logging pictures and models" if TASKS[found.plan.task].formats else "logging pictures")
    try:
        _log(found, Publisher(uri, found.plan, found.folder.storage), {**search, **of_common}, trials, result, progress)
    except (DermtuneError, StoreAway, *STORE_ERRORS) as error:
        result.problems.append(f"MLflow did not take all pictures and models: {reason(error)}")
    return result


def _log(
    found: RecordedSearch,
    publisher: Publisher,
    search: Mapping[str, Figure],
    trials: Mapping[str, Mapping[str, bytes]],
    result: Publication,
    progress: Progress,
) -> None:
    """Logs pictures, the report and models; they are the second half of what is done, but for one step."""
    files = {f"pictures/{name}.png": figures.png(figure) for name, figure in search.items()}
    publisher.put(None, {**files, "report.html": result.page.read_bytes()})
    for done, (name, pictures) in enumerate(trials.items(), start=len(trials) + 3):
        publisher.put(name, {f"pictures/{picture}.png": png for picture, png in pictures.items()})
        if TASKS[found.plan.task].formats:
            result.models[name] = publisher.log_model(candidate_of(found, found.trial(name)), example_image())
        progress(done, 2 * len(trials) + 2)


def _drawn(draw: Callable[[], Mapping[str, Figure]], of: str, result: Publication) -> Mapping[str, Figure]:
    try:
        return draw()
    except Exception as error:  # noqa: BLE001 - a search that has run for days must not end over a picture
        result.problems.append(f"{of}: a picture could not be drawn: {reason(error)}")
        return {}


def _in_common(found: RecordedSearch, explanations: Mapping[str, Explanation], result: Publication) -> CommonExplanations:
    try:
        return common_explanations(found, explanations)
    except Exception as error:  # noqa: BLE001 - a search that has run for days must not end over a page
        result.problems.append(f"{found.plan.name}: what explanations have in common is not told: {reason(error)}")
        return CommonExplanations()


def register(found: RecordedSearch, uri: str, trial: TrialRecord, model: str, alias: str | None) -> dict[str, str | None]:
    """Makes a trial's best checkpoint a version of a registered model in MLflow.

    Args:    found: its search.
             uri: of the tracking store.
             trial: whose checkpoint was kept.
             model: name of the registered model; made if missing.
             alias: that points to this version from now on, None for none.
    Returns: name, version, alias, model_uri, model_id, trial, as JSON values.
    Raises:  PlanError: when the store does not know the search or does not take the model.
    """
    if not TASKS[found.plan.task].formats:
        raise PlanError(f"NAME must be a search of a task that looks at images; got {found.plan.name!r} ({found.plan.task})")
    candidate = candidate_of(found, trial)
    try:
        publisher = Publisher(uri, found.plan, found.folder.storage)
        model_id = publisher.log_model(candidate, example_image())
        version = publisher.register(model, candidate, model_id, alias)
    except (StoreAway, *STORE_ERRORS) as error:
        raise PlanError(f"--as and --alias must be names that MLflow takes; got {reason(error)}") from error
    uri_of = f"models:/{model}@{alias}" if alias else f"models:/{model}/{version}"
    return {
        "name": model,
        "version": version,
        "alias": alias,
        "model_uri": uri_of,
        "model_id": model_id,
        "trial": trial.trial,
    }


def _explanation(found: RecordedSearch, trial: TrialRecord, result: Publication) -> Explanation | None:
    """What the trial's checkpoint says of the validation split; None without data, or when they are not here."""
    plan = found.plan
    source = plan.source_of(trial.fold)
    if source is None:
        return None
    try:
        return TASKS[plan.task].load().explain(found.folder.fetched(str(trial.checkpoint)), source, _SPLIT, SHOWN_CASES)
    except (DermtuneError, OSError, ValueError) as error:
        result.problems.append(f"{trial.trial}: no pictures of what it sees: {reason(error)}")
        return None


def candidate_of(found: RecordedSearch, trial: TrialRecord) -> Candidate:
    """A trial's best checkpoint as it goes to MLflow."""
    return Candidate(
        search=found.plan.name,
        task=found.plan.task,
        trial=trial.trial,
        folder=found.folder.fetched(str(trial.checkpoint)),
        sha256=str(trial.sha256),
        epoch=trial.best_epoch,
        metrics=trial.best_metrics,
        params=trial_params(trial),
    )
