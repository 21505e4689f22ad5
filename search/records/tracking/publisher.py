"""What a search leaves on its runs when it has ended: pictures, pages, models."""

import logging
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from search.errors import PlanError
from search.records.database import masked
from search.records.plan import Plan
from search.records.tracking import logged_models, registry
from search.records.tracking.mark import mark_of
from search.records.tracking.removal import artifacts_folder
from search.records.tracking.retrying import RetryingCaller
from search.records.tracking.store import open_client, summary_run, trial_run

#: A store that is away for longer keeps nobody waiting: `dermtune report NAME` does it again.
_PATIENCE_S = 10.0
_log = logging.getLogger("dermtune.tracking")


class Publisher:
    """Puts files and models onto the runs of one search.

    Args:    uri: of the tracking store.
             plan: of the search.
             storage: folder of all searches.
    Raises:  PlanError: when the store cannot be opened or does not know the search.
    """

    def __init__(self, uri: str, plan: Plan, storage: Path) -> None:
        self._client, name = open_client(uri), plan.name
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            raise PlanError(
                f"--tracking-uri must be the store of {name!r}; got {masked(uri)}, which has no such experiment"
                f" (dermtune doctor {name} --repair)"
            )
        mark_of(storage, plan.created).check(name, uri, experiment.tags)
        self._experiment_id = str(experiment.experiment_id)
        _say_where(str(experiment.artifact_location), artifacts_folder(storage, name))
        self._caller = RetryingCaller(uri, _PATIENCE_S)
        self._caller.last_calls()

    def put(self, trial: str | None, files: Mapping[str, bytes]) -> None:
        """Logs files as artifacts; those of the same name are replaced.

        Args:    trial: whose run, None for the search's own.
                 files: path below the run's artifacts → contents.
        """
        run = self._run(trial)
        with tempfile.TemporaryDirectory(prefix="dermtune-artifacts-") as scratch:
            for path, contents in files.items():
                place = Path(scratch) / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(contents)
            self._caller.call(lambda: self._client.log_artifacts(run, scratch))

    def log_model(self, candidate: logged_models.Candidate, example: bytes) -> str:
        """Makes a checkpoint a logged model of its trial's run, once; gives its id.

        Args:    candidate, example: see `logged_models.log_model`.
        """
        run = self._run(candidate.trial)
        return self._caller.call(lambda: logged_models.log_model(self._client, self._experiment_id, run, candidate, example))

    def register(self, model: str, candidate: logged_models.Candidate, model_id: str, alias: str | None) -> str:
        """Registers a logged model; gives its version.

        Args:    model: name of the registered model.
                 candidate: the checkpoint.
                 model_id: as `log_model` gave it.
                 alias: that points to it from now on, None for none.
        """
        text = f"{candidate.trial} of dermtune's search {candidate.search} ({candidate.task}), epoch {candidate.epoch}"
        run = self._run(candidate.trial)
        return self._caller.call(lambda: registry.register(self._client, model, model_id, run, alias, text))

    def _run(self, trial: str | None) -> str:
        find = (
            (lambda: summary_run(self._client, self._experiment_id))
            if trial is None
            else (lambda: trial_run(self._client, self._experiment_id, trial))
        )
        found = self._caller.call(find)
        if found is None:
            raise PlanError(f"MLflow must have a run of {trial or 'the search'}; got none (dermtune doctor NAME --repair)")
        return found


def _say_where(location: str, expected: Path) -> None:
    """MLflow writes down once where an experiment's artifacts go, whatever becomes of the storage."""
    parts = urlsplit(location)
    place = Path(url2pathname(parts.path))
    if parts.scheme == "file" and place.resolve() != expected.resolve():
        _log.warning(
            "MLflow keeps pictures and models in %s, where this storage was before it was moved or copied; after a move,"
            " `ln -s %s %s` lets it find those of before",
            place,
            *(shlex.quote(str(folder)) for folder in (expected, place)),
        )
