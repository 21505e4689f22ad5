"""What a search looks like while it runs: a live table on a terminal, plain lines elsewhere."""

import time

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from search.analysis.leaderboard import rung_predictions
from search.cli.options import duration_text, number
from search.cli.tables import prediction
from search.records.ledger import Event
from search.records.notices import notice
from search.records.plan import Plan
from search.records.trials import ENDED, TrialRecord, TrialTable

_ROWS = 8
#: Seconds between two looks at how rungs correlate.
_LOOK_S = 5.0


class SearchView:
    """Follows a ledger and shows where the search stands.

    Args:    plan: of the search.
             table: already up to date when this listener is called.
             console: on stderr.
    """

    def __init__(self, plan: Plan, table: TrialTable, console: Console) -> None:
        self._plan, self._table, self._console = plan, table, console
        self._start, self._ended_before = time.monotonic(), table.count(*ENDED)
        self._said: set[str] = set()
        self._predicted: list[str] = []
        self._look_again = 0.0
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=2, transient=True)

    def on_event(self, event: Event) -> None:
        """Takes one event."""
        if event["event"] in ("search_started", "search_resumed") and self._console.is_terminal:
            self._live.start()
        elif event["event"] == "search_ended":
            self.close()
        elif (line := notice(event)) is not None:
            self._console.print(line, markup=False)
        elif event["event"] == "started":
            for note in event["notes"]:
                self._say_once(f"{event['trial']}: {note}", key=note)
        elif event["event"] in ENDED and not self._console.is_terminal:
            self._console.print(f"{self._line(self._table.trials[event['trial']])} | {self._status()}", markup=False)

    def _say_once(self, text: str, key: str) -> None:
        """Prints a trial's note unless another trial has said the same."""
        if key not in self._said:
            self._said.add(key)
            self._console.print(text, markup=False)

    def close(self) -> None:
        """Takes the table off the terminal; safe to call twice."""
        self._live.stop()

    def _line(self, trial: TrialRecord) -> str:
        score = f"score {number(trial.score)} at epoch {trial.best_epoch}" if trial.score is not None else "no score"
        return f"{trial.trial} {trial.state} ({trial.reason}): {score}, {duration_text(trial.train_s)}"

    def _status(self) -> str:
        table, plan = self._table, self._plan
        ended = table.count(*ENDED)
        text = (
            f"{ended} of {plan.num_trials} done, {table.count('stopped')} stopped early, {table.count('failed')} failed,"
            f" {table.count('running')} running"
        )
        leader = table.leader
        if leader is not None:
            text += f" | best {number(leader.score)} ({leader.trial}, epoch {leader.best_epoch})"
        elapsed = time.monotonic() - self._start
        lately = ended - self._ended_before
        if lately > 0 and ended < plan.num_trials:
            text += f" | about {duration_text(elapsed / lately * (plan.num_trials - ended))} left"
        return f"{text} | {duration_text(elapsed)}"

    def _render(self) -> Group:
        grid = Table(
            title=f"{self._plan.name}: {self._plan.objective.metric} ({self._plan.objective.mode})", title_justify="left"
        )
        for heading, justify in (("trial", "left"), ("state", "left"), ("epoch", "right"), ("score", "right"), ("best", "right")):
            grid.add_column(heading, justify="right" if justify == "right" else "left")
        trials = list(self._table.trials.values())
        running = [trial for trial in trials if trial.state in ("running", "suggested")]
        others = (trial for trial in trials if trial.state not in ("running", "suggested"))
        for trial in [*running[:_ROWS], *self._table.first(max(_ROWS - len(running), 3), others)]:
            last = trial.epochs[-1]["score"] if trial.epochs else None
            state = trial.state if trial.reason is None else f"{trial.state}: {trial.reason}"
            epochs = f"{len(trial.epochs)}/{self._plan.max_epochs}"
            grid.add_row(trial.trial, escape(state), epochs, number(last), number(trial.score))
        lines = [*self._status().split(" | "), *self._predictions()]
        return Group(grid, Text("\n".join(lines)))

    def _predictions(self) -> list[str]:
        """How well rungs predict each other, looked at anew every few seconds."""
        if time.monotonic() >= self._look_again:
            self._predicted = [prediction(pair) for pair in rung_predictions(self._plan, self._table)]
            self._look_again = time.monotonic() + _LOOK_S
        return self._predicted
