"""The controller between sampler, scheduler, study and journal: one object that asks, hears and decides."""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import TrialState

from search.records.events import EpochResult, Event, RungDropped, Terminated, WarmStarted
from search.records.ledger import Journal
from search.records.plan import Plan
from search.records.state import SearchState
from search.records.study import FAR_BEYOND, REASON_ATTRIBUTE, TRIAL_ATTRIBUTE, new_study
from search.strategy.distributions import drawn_from, suggest
from search.strategy.rungs import RungCorrelation, rung_correlation
from search.strategy.samplers import SAMPLERS, make_sampler
from search.strategy.schedulers import SCHEDULERS, Ladder, Verdict
from search.strategy.search_controller import Outcome, SearchController
from search.strategy.suggestion import Suggestion
from search.strategy.termination import Termination
from search.strategy.warm_start import EarlierTrial, earlier_trials
from spaces.fields import Value

#: Where even an optimistic guess of the correlation between the first two rungs lies below, the first stops trials on luck.
TRUSTED_CORRELATION = 1 / 3
_STATES = {"finished": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}


class OptunaController(SearchController):
    """A search whose trials a sampler suggests and a scheduler judges.

    Args:    plan: of the search.
             journal: of the search.
             past: events that the journal held already; the sampler is seeded anew with the number of their trials, since
                 a seed that is used again would suggest the same again.
             state: see `SearchController`.
             wrap: puts another sampler around the plan's.
    """

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        past: Sequence[Event] = (),
        state: SearchState | None = None,
        wrap: Any = lambda sampler: sampler,
    ) -> None:
        super().__init__(plan, journal, state)
        self._fields, self._wrap = plan.fields, wrap
        self.scheduler = SCHEDULERS[plan.scheduler](Ladder(plan.grace_period, plan.max_epochs, plan.reduction))
        self.study = new_study(plan.name, plan.objectives, optuna.samplers.RandomSampler())
        self._trials: dict[str, optuna.Trial] = {}
        #: Trial → epochs before its objective is trained; rungs and what Optuna hears count from there.
        self._delays: dict[str, int] = {}
        self._num_suggested = 0
        self._at_rungs: dict[int, dict[str, float]] = {rung: {} for rung in self.scheduler.rungs}
        self._look_at: dict[int, int] = {}
        self._earlier: list[EarlierTrial] = []
        self._termination = Termination(self.study) if plan.terminate else None
        self._terminated = False
        self._enqueue_paper()
        self._take_up(past)
        self._set_sampler()

    def _enqueue_paper(self) -> None:
        """Makes the paper's configuration the first trial, as far as fixed and narrowed fields leave it."""
        self._enqueue(self.plan.paper_config)

    def _enqueue(self, config: Mapping[str, Value]) -> None:
        searched = [field.name for field in self.plan.searched]
        self.study.enqueue_trial({name: config[name] for name in searched if config[name] is not None})

    def _set_sampler(self) -> None:
        """The plan's sampler, from here on."""
        seed = (self.plan.seed + 1_000_003 * self._num_suggested) % 2**31  # NumPy's generators take no larger one
        earlier = earlier_trials(self._earlier, self._fields, self.plan)
        self.study.sampler = self._wrap(make_sampler(self.plan, seed, earlier))

    def learn_from(self, search: str, trials: Sequence[EarlierTrial], num_left_out: int) -> None:
        """Takes an earlier search's trials as first guesses; the best of them is tried first.

        Args:    search: its name.
                 trials: those that fit this search, best first.
                 num_left_out: those that do not.
        """
        documents = [trial.to_json() for trial in trials]
        self._journal.append(WarmStarted(search=search, num_left_out=num_left_out, trials=documents))
        self._set_sampler()

    @property
    def rungs(self) -> tuple[int, ...]:
        """The scheduler's."""
        return self.scheduler.rungs

    @property
    def num_to_come(self) -> int:
        """The plan's trials less those suggested; none after the search has been terminated."""
        return 0 if self._terminated else max(0, self.plan.num_trials - self._num_suggested)

    @property
    def terminated(self) -> bool:
        """Whether too little was to be expected of further trials."""
        return self._terminated

    def _choose(self) -> Suggestion:
        if SAMPLERS[self.plan.sampler].by_number:
            self._set_sampler()
        trial = self.study.ask()
        config = suggest(drawn_from(trial), self._fields, self.plan.fixed)
        name = f"t{trial.number:04d}"
        self._trials[name] = trial
        return Suggestion(name, config, self.plan.seed + trial.number)

    def _enter(self, suggestion: Suggestion) -> None:
        name = suggestion.trial
        if name not in self._trials:  # restored
            waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
            if not waiting:
                self._enqueue(suggestion.config)
            self._trials[name] = self.study.ask()
            suggest(drawn_from(self._trials[name]), self._fields, self.plan.fixed)
        self._delays[name] = self.plan.delay_of(suggestion.config)
        self._trials[name].set_user_attr(TRIAL_ATTRIBUTE, name)
        self._num_suggested += 1
        self.scheduler.enter(name)

    def _hear(self, trial: str, epoch: EpochResult) -> tuple[Verdict, str]:
        number, score = epoch.epoch - self._delays[trial], epoch.score
        if number < 1:
            return "go on", ""
        if not self.plan.further_objectives:  # Optuna takes no intermediate values beside several objectives
            self._trials[trial].report(score, number)
        beyond = sum(max(0.0, limit.excess(epoch.metrics)) for limit in self.plan.constraints)
        # Beyond a limit is worse than anything within, and the further the worse: all may be, in their first epochs.
        gain = self.plan.objective.sign * score if not beyond else -FAR_BEYOND - beyond
        if number in self._at_rungs:
            self._at_rungs[number][trial] = gain
        verdict = self.scheduler.judge(trial, number, gain)
        if self._restoring:
            return verdict, f"rung {number}"
        self._question_first_rung(number)
        return verdict, f"rung {number}"

    def _question_first_rung(self, reached: int) -> None:
        """Lets every trial pass the first rung once it is clear that it says little of the second."""
        if not self.scheduler.drops_rungs or len(self.rungs) < 2 or reached != self.rungs[1]:
            return
        first, second = self.rungs[:2]
        if len(self._at_rungs[second]) < self._look_at.get(second, 0):
            return
        # Each look goes through all trials, and a tenth more of them can change little.
        self._look_at[second] = 1 + len(self._at_rungs[second]) * 11 // 10
        found = self.correlation(first, second)
        if found is not None and found.high < TRUSTED_CORRELATION:
            self._journal.append(RungDropped(rung=first, grace_period=second, correlation=round(found.estimate, 3)))

    def correlation(self, rung: int, later: int) -> RungCorrelation | None:
        """How well one rung has predicted another so far."""
        early, late = self._at_rungs[rung], self._at_rungs[later]
        both = [trial for trial in early if trial in late]
        return rung_correlation(rung, later, list(early.values()), [early[t] for t in both], [late[t] for t in both])

    def _promotable(self) -> str | None:
        first = self.rungs[0] if self.rungs else 0
        coming = self.num_to_come > 0 or any(self.records[t].last_epoch - self._delays[t] < first for t in self._queue.running)
        return self.scheduler.promotable(coming)

    def _promote(self, trial: str) -> None:
        self.scheduler.promote(trial)

    def _unworthy(self, trial: str) -> str | None:
        if self.records[trial].scores(self.plan.objectives) is not None:
            return None
        names = ", ".join(objective.metric for objective in self.plan.further_objectives)
        return f"{names} must be reported to be an objective; got none at the best epoch (--metric)"

    def _end(self, trial: str, outcome: Outcome, reason: str) -> None:
        self.scheduler.leave(trial)
        told, record = self._trials.pop(trial), self.records[trial]
        told.set_user_attr(REASON_ATTRIBUTE, reason)
        if record.best_metrics:
            for limit in self.plan.constraints:
                told.set_constraint(str(limit), min(limit.excess(record.best_metrics), FAR_BEYOND))
        scores = record.scores(self.plan.objectives) if outcome == "finished" else None
        self.study.tell(told, None if scores is None else list(scores), state=_STATES[outcome])
        if self._termination is not None and outcome == "finished" and not self._restoring:
            text = self._termination.reached()
            if text is not None and not self._terminated:
                self._terminated = True
                self._journal.append(Terminated(text=text))

    def _apply(self, event: Event) -> None:
        match event:
            case RungDropped():
                self.scheduler.drop_first_rung()
            case WarmStarted():
                trials = [EarlierTrial.from_json(document) for document in event.trials]
                self._earlier.extend(trials)
                if trials:
                    self._enqueue(trials[0].config)
            case Terminated():
                self._terminated = True
