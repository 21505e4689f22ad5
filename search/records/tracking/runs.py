"""A search's experiment in MLflow, its own run and the trials': found where they are, made where they are not."""

import time
from datetime import datetime
from pathlib import Path

import mlflow

from search.records.description import search_page
from search.records.events import Event
from search.records.plan import Plan
from search.records.state import SearchState
from search.records.tracking.address import is_on_server
from search.records.tracking.entities import EXPERIMENT_KIND, NOTE_TAG, ms, paper_tags, source_tags
from search.records.tracking.mark import mark_of
from search.records.tracking.removal import artifacts_folder
from search.records.tracking.retrying import RetryingCaller
from search.records.tracking.store import (
    KIND_TAG,
    SUMMARY,
    TRIAL,
    TRIAL_TAG,
    statuses_of,
    summary_run,
    trial_run,
)
from search.records.tracking.view import VIEW_TAG, saved_view
from search.records.trials import TrialRecord


class SearchRuns:
    """The ids of a search's runs. A call whose answer was lost is not made twice: what it made is looked up.

    Args:    client: of the store.
             caller: waits for a store that is away.
             uri: of the store.
             plan: of the search.
             storage: folder of all searches; artifacts go below it when no server takes them.
    Raises:  PlanError: when the experiment of the search's name is another's.
    """

    def __init__(self, client: mlflow.MlflowClient, caller: RetryingCaller, uri: str, plan: Plan, storage: Path) -> None:
        self._client, self._caller, self._plan, self._uri = client, caller, plan, uri
        self._mark = mark_of(storage, plan.created)
        self._place = None if is_on_server(uri) else artifacts_folder(storage, plan.name).as_uri()
        self.experiment_id: str = caller.call(self._experiment)
        self.summary: str = caller.call(self._summary)
        #: Trial → run id, of those that have been opened here.
        self.trials: dict[str, str] = {}

    def open(self, trial: TrialRecord, event: Event) -> None:
        """Makes a trial's run, begun at the event, unless there is one."""
        if trial.trial not in self.trials:
            self.trials[trial.trial] = self._create(trial, event)

    def find(self) -> dict[str, str]:
        """Takes over the runs that earlier processes opened; gives trial → status."""
        found = self._caller.call(lambda: statuses_of(self._client, self.experiment_id))
        self.trials |= {trial: run for trial, (run, _) in found.items()}
        return {trial: status for trial, (_, status) in found.items()}

    def _experiment(self) -> str:
        plan = self._plan
        found = self._client.get_experiment_by_name(plan.name)
        if found is not None:
            self._mark.check(plan.name, self._uri, found.tags)
            return str(found.experiment_id)
        page = search_page(SearchState(plan.objective), plan, [])
        view = saved_view(plan, time.time_ns() // 1_000_000)
        tags = {**EXPERIMENT_KIND, **self._mark.tags(), NOTE_TAG: page, VIEW_TAG: view}
        return str(self._client.create_experiment(plan.name, artifact_location=self._place, tags=tags))

    def _summary(self) -> str:
        found = summary_run(self._client, self.experiment_id)
        if found is not None:
            return found
        tags = {KIND_TAG: SUMMARY, **source_tags(self._plan)}
        # Written later, by a repair for instance, it has begun when the search did.
        created = self._plan.created
        begun_ms = round(datetime.fromisoformat(created).timestamp() * 1000) if created else None
        run = self._client.create_run(self.experiment_id, run_name=f"search {self._plan.name}", tags=tags, start_time=begun_ms)
        return str(run.info.run_id)

    def _create(self, trial: TrialRecord, event: Event) -> str:
        tags = {KIND_TAG: TRIAL, TRIAL_TAG: trial.trial, "state": "running", **source_tags(self._plan)}
        tags |= paper_tags(trial, self._plan)
        asked = False

        def create() -> str:
            nonlocal asked
            if asked and (found := trial_run(self._client, self.experiment_id, trial.trial)) is not None:
                return found
            asked = True
            run = self._client.create_run(self.experiment_id, run_name=trial.trial, tags=tags, start_time=ms(event))
            return str(run.info.run_id)

        return self._caller.call(create)
