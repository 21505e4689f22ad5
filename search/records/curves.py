"""Learning curves of a search as a table, for pandas and for replay."""

from pathlib import Path

import pandas as pd

from search.records.state import SearchState


def curves_frame(state: SearchState) -> pd.DataFrame:
    """One row per trial and epoch: trial, epoch, score, seconds, is_best, every metric, `config/<field>`."""
    rows = [
        {
            "trial": trial.trial,
            **{key: getattr(epoch, key) for key in ("epoch", "score", "seconds", "is_best")},
            **epoch.metrics,
            **{f"config/{name}": value for name, value in trial.config.items() if value is not None},
        }
        for trial in state.trials.values()
        for epoch in trial.epochs
    ]
    return pd.DataFrame(rows)


def trials_frame(state: SearchState) -> pd.DataFrame:
    """One row per trial, best first, trials without a score last: the leaderboard."""
    ranked = state.ranked()
    names = {trial.trial for trial in ranked}
    rest = [trial for trial in state.trials.values() if trial.trial not in names]
    rows = [
        {
            "trial": trial.trial,
            "state": trial.state,
            "reason": trial.reason,
            "value": trial.value,
            "score": trial.score,
            "epoch": trial.best_epoch,
            "epochs": len(trial.epochs),
            "seconds": trial.train_s,
            **{name: value for name, value in trial.config.items() if value is not None},
        }
        for trial in [*ranked, *rest]
    ]
    return pd.DataFrame(rows)


def write_curves(state: SearchState, file: Path) -> None:
    """Writes `curves.parquet`, whole or not at all; a search without an epoch leaves none."""
    frame = curves_frame(state)
    if len(frame):
        unfinished = file.with_suffix(".unfinished")
        frame.to_parquet(unfinished, index=False)
        unfinished.rename(file)
