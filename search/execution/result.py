"""What a search found, as objects and pandas frames."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pandas as pd

from search.records.curves import curves_frame, trials_frame
from search.records.folder import SearchFolder
from search.records.plan import Plan
from search.records.standing import NO_BASELINE, baseline_of, is_constant, reported, why_none
from search.records.state import SearchState
from search.records.trials import TrialRecord
from search.strategy.study_from_state import study_of


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Args:    plan: of the search.
             folder: where it lies.
             state: its trials.
             ray_trials: trial → Tune's last word on it.
             ended: "all trials", "terminated", "time budget", "epoch budget", "GPU hours", "stop requested", "interrupted", or
                 "not ended" of one that was opened while it runs or was killed.
             experiment_id: MLflow's, None of a search that was opened without asking MLflow.
             tracking_error: why MLflow does not have everything, None when it has.
    """

    plan: Plan
    folder: SearchFolder
    state: SearchState
    ray_trials: Mapping[str, str]
    ended: str
    experiment_id: str | None
    tracking_error: str | None = None

    @property
    def best(self) -> TrialRecord | None:
        """The best trial over all trials and all epochs, None when none reported anything or kept all limits."""
        return self.state.best

    @property
    def study(self) -> optuna.Study:
        """The search as an Optuna study in memory."""
        return study_of(self.plan, self.state)

    @property
    def trials(self) -> pd.DataFrame:
        """The leaderboard: one row per trial, best first."""
        return trials_frame(self.state)

    @property
    def curves(self) -> pd.DataFrame:
        """One row per trial and epoch with every metric."""
        return curves_frame(self.state)

    def checkpoint(self, trial: TrialRecord) -> Path | None:
        """The folder of a trial's best checkpoint, None when it was not kept."""
        return None if trial.checkpoint is None else self.folder.fetched(trial.checkpoint)

    def summary(self) -> dict[str, Any]:
        """The JSON document that `dermtune search --json` prints."""
        best, objectives = self.best, self.plan.objectives
        checkpoint = self.checkpoint(best) if best else None
        baseline = baseline_of(self.plan, self.state)
        return {
            "name": self.plan.name,
            "task": self.plan.task,
            "metrics": [objective.metric for objective in objectives],
            "modes": [objective.mode for objective in objectives],
            "num_trials": len(self.state.trials),
            "num_failed": self.state.count("failed"),
            "num_stopped_early": self.state.count("stopped"),
            "best_trial": best.trial if best else None,
            "best_value": best.value if best else None,
            "best_score": best.score if best else None,
            "best_values": best.values(objectives) if best else None,
            "best_window": best.best_window if best else None,
            "best_epoch": best.best_epoch if best else None,
            "best_config": dict(best.config) if best else None,
            "checkpoint": str(checkpoint) if checkpoint else None,
            "pareto": [trial.trial for trial in self.state.pareto(objectives)],
            "mlflow_experiment_id": self.experiment_id,
            "wall_s": self.state.wall_s,
            "train_s": round(sum(trial.train_s for trial in self.state.trials.values()), 3),
            "ended": self.ended,
            "num_reported": len(reported(self.state)),
            "constant": is_constant(self.state),
            "why_no_best": why_none(self.plan, self.state) if best is None else None,
            **(NO_BASELINE if baseline is None else baseline.to_json()),
        }
