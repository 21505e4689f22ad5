"""What a search looks like while it runs: a live table on a terminal, plain lines elsewhere."""

import time
from collections import Counter
from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from search.analysis.leaderboard import leading, rung_predictions
from search.cli.layout import laid_out
from search.cli.options import duration_text, number, span_text
from search.cli.standings import prediction
from search.records.event_messages import notice
from search.records.events import Event
from search.records.plan import Plan
from search.records.standing import by_value, is_constant, kind_of, mean_of, tied_with
from search.records.state import SearchState
from search.records.trials import ENDED, TrialRecord
from search.strategy.forecast import NOTHING, Span, TimeLeft
from trainables.contract import SCORE_WINDOW

_ROWS = 8
#: Failures for one reason after which it is said.
_ALIKE = 3
#: Seconds between two looks at how rungs correlate.
_LOOK_S = 5.0


class SearchView:
    """Follows a ledger and shows where the search stands.

    Args:    plan: of the search.
             state: already up to date when this listener is called.
             console: on stderr.
             closing: what follows on the last trial.
             clock: seconds, monotonic.
    """

    def __init__(
        self,
        plan: Plan,
        state: SearchState,
        console: Console,
        closing: Span = NOTHING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan, self._state, self._console, self._clock = plan, state, console, clock
        self._start, self._left = clock(), TimeLeft(plan, state, closing, clock)
        self._said: set[str] = set()
        self._failures = Counter(kind_of(trial.reason or "") for trial in state.trials.values() if trial.state == "failed")
        self._predicted: list[str] = []
        self._look_again = 0.0
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=2, transient=True)

    def on_event(self, event: Event) -> None:
        """Takes one event."""
        self._left.on_event(event)
        if event.event in ("search_started", "search_resumed") and self._console.is_terminal:
            self._live.start()
        elif event.event == "search_ended":
            self.close()
        elif (line := notice(event)) is not None:
            self._console.print(line, markup=False)
        elif event.event == "started":
            for note in event.notes:
                self._say_once(f"{event.trial}: {note}", key=note)
        elif event.event in ENDED:
            if not self._console.is_terminal:
                self._console.print(f"{self._line(self._state.trials[event.trial])} | {self._status()}", markup=False)
            if event.event == "failed":
                self._count_failure(event.trial, event.reason)

    def _count_failure(self, trial: str, reason: str) -> None:
        """Warns, once, of a reason that keeps coming back: the trials to come would fail of it as well."""
        kind = kind_of(reason)
        self._failures[kind] += 1
        if self._failures[kind] == _ALIKE:
            self._console.print(
                f"warning: {_ALIKE} trials have failed for the same reason: {reason} (dermtune show {self._plan.name} {trial}"
                " shows where; Ctrl-C ends the search)",
                markup=False,
            )

    def _say_once(self, text: str, key: str) -> None:
        """Prints a trial's note unless another trial has said the same."""
        if key not in self._said:
            self._said.add(key)
            self._console.print(text, markup=False)

    def close(self) -> None:
        """Takes the table off the terminal; safe to call twice."""
        self._live.stop()

    def _line(self, trial: TrialRecord) -> str:
        score = "no score"
        if trial.score is not None and self._plan.ranked_by == "value":
            score = f"value {number(trial.value)} at epoch {trial.best_epoch}"
        elif trial.score is not None:
            score = f"score {number(trial.score)}{_over(trial)}, checkpoint of epoch {trial.best_epoch}"
        return f"{trial.trial} {trial.state} ({trial.reason}): {score}, {duration_text(trial.train_s)}"

    def _leading(self, leader: TrialRecord) -> str:
        if self._plan.kind != "search":
            return f"best value {number(leader.value)} ({leader.trial}, epoch {leader.best_epoch})"
        score = f"{number(leader.score)}{_over(leader)}"
        if leader.excess(self._plan.constraints):
            return f"no trial keeps the limits yet; nearest {leader.trial}, score {score}"
        if is_constant(self._state):
            return f"score {score} in all trials so far: nothing distinguishes them"
        alike = len(tied_with(self._state, leader)) - 1
        others = f" and {alike} other{'s' * (alike > 1)}" if alike else f", checkpoint of epoch {leader.best_epoch}"
        return f"best score {score} ({leader.trial}{others})"

    def _status(self) -> str:
        state, plan = self._state, self._plan
        ended = state.count(*ENDED)
        what = "" if plan.kind == "search" else " runs"
        text = (
            f"{ended} of {plan.num_trials}{what} done, {state.count('stopped')} stopped early, {state.count('failed')} failed,"
            f" {state.count('running')} running"
        )
        # The best run of a confirmation is the luckiest.
        leader = None if plan.kind == "confirmation" else leading(plan, state)
        if leader is not None:
            text += f" | {self._leading(leader)}"
        if ended < plan.num_trials and (left := self._left()) is not None:
            text += f" | {span_text(left.low_s, left.high_s)} left"
        return f"{text} | {duration_text(self._clock() - self._start)}"

    def _render(self) -> Group:
        plan, rows = self._plan, list[tuple[str, ...]]()
        scored = plan.ranked_by == "score"
        trials = list(self._state.trials.values())
        running = [trial for trial in trials if trial.state in ("running", "suggested")]
        others = (trial for trial in trials if trial.state not in ("running", "suggested"))
        few = max(_ROWS - len(running), 3)
        first = self._state.first(few, others) if scored else by_value(plan, self._state.ranked(others))[:few]
        for trial in [*running[:_ROWS], *first]:
            scores, metrics = [epoch.score for epoch in trial.epochs[-1:]], [epoch.metrics for epoch in trial.epochs[-1:]]
            last = scores if scored else [found.get(plan.objective.metric) for found in metrics]
            numbers = (last[0] if last else None, trial.score if scored else trial.value)
            state = trial.state if trial.reason in (None, trial.state) else f"{trial.state}: {trial.reason}"
            rows.append((trial.trial, state, f"{len(trial.epochs)}/{plan.max_epochs}", *map(number, numbers)))
        title = f"{plan.name}: {plan.objective.metric} ({plan.objective.mode})"
        what = "trial" if plan.kind == "search" else "run"
        best = "best" if scored else "kept"
        grid = laid_out(title, (what, "state", "epoch", plan.ranked_by, best), rows, self._console.width)
        lines = [*self._status().split(" | "), *self._predictions()]
        return Group(grid, Text("\n".join(lines)))

    def _predictions(self) -> list[str]:
        """How well rungs predict each other, looked at anew every few seconds."""
        if self._clock() >= self._look_again:
            self._predicted = [prediction(pair) for pair in rung_predictions(self._plan, self._state)]
            self._look_again = self._clock() + _LOOK_S
        return self._predicted


def _over(trial: TrialRecord) -> str:
    """How many validations a score is the mean of, where it is not the usual three."""
    if trial.best_window == SCORE_WINDOW:
        return ""
    return f" ({mean_of(trial.best_window)})"
