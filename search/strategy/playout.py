"""One way in which the rest of a search may go: the plan's own scheduler judges trials whose scores are drawn (Monte Carlo)."""

import heapq
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from search.records.plan import Plan
from search.strategy.schedulers import EVERY_EPOCH, SCHEDULERS, Ladder, Scheduler
from search.strategy.standing import Standing, Underway

#: Share of a score's variance that stays from rung to rung; the rest is luck. On a few hundred images rungs correlate so.
_STAYS = 0.6
#: Trials that ended by themselves from which on their lengths say how long others are.
_LENGTHS = 3


@dataclass(frozen=True)
class Rules:
    """What all games have in common.

    Args:    plan, standing: of the search.
             delays: epochs before the objective is trained; one is drawn for each new trial.
             known: trial → its last score as a normal score, on one scale for all rungs.
             heard: (trial, rung, normal score) of all arrivals, rung by rung.
    """

    plan: Plan
    standing: Standing
    delays: Sequence[int]
    known: Mapping[str, float]
    heard: Sequence[tuple[str, int, float]]

    @staticmethod
    def of(plan: Plan, standing: Standing, delays: Sequence[int]) -> "Rules":
        """The rules of the rest of a search."""
        known: dict[str, float] = {}
        heard: list[tuple[str, int, float]] = []
        for rung in sorted(standing.judged):
            scores = standing.judged[rung]
            order = sorted(scores, key=lambda trial: scores[trial])
            # Those at a rung were chosen at the one before: the best of them here has the best place that they had there.
            places = sorted(known[trial] for trial in order if trial in known)
            if len(places) < len(order):
                places = [NormalDist().inv_cdf((place + 0.5) / len(order)) for place in range(len(order))]
            level = dict(zip(order, places, strict=True))
            known |= level
            heard += [(trial, rung, level[trial]) for trial in scores]
        return Rules(plan, standing, delays, known, heard)

    def scheduler(self) -> Scheduler:
        """The plan's, as it stands."""
        plan, standing = self.plan, self.standing
        found = SCHEDULERS[plan.scheduler](Ladder(plan.grace_period, plan.max_epochs, plan.reduction))
        first = found.rungs[0] if found.rungs else 0
        for trial in dict.fromkeys([*(trial for trial, _, _ in self.heard), *(t.trial for t in standing.underway)]):
            found.enter(trial)
        for trial, rung, score in self.heard:
            found.judge(trial, rung, score)
        waiting = {trial.trial for trial in standing.paused}
        waiting |= {trial.trial for trial in standing.underway if trial.epochs - trial.delay < first}
        for trial in self.known:
            if trial not in waiting:
                found.leave(trial)
        for _ in range(standing.dropped_rungs):
            found.drop_first_rung()
        return found


def play(rules: Rules, chance: random.Random) -> float:
    """Seconds until nothing runs any more, in one game."""
    return _Game(rules, chance).play()


@dataclass
class _Player:
    """A trial in a game: what is known of it, and what is drawn."""

    trial: str
    epochs: int
    whole: int
    epoch_s: float
    quality: float
    delay: int = 0
    ready_s: float = 0.0


class _Game:
    def __init__(self, rules: Rules, chance: random.Random) -> None:
        self._rules, self._chance = rules, chance
        self._plan, self._standing = rules.plan, rules.standing
        self._scheduler = rules.scheduler()
        self._work: list[tuple[float, int, _Player]] = []
        self._waiting = [self._known(trial) for trial in rules.standing.underway]
        self._paused = {trial.trial: self._known(trial) for trial in rules.standing.paused}
        self._to_come, self._order = rules.standing.num_to_come, 0

    def play(self) -> float:
        now = 0.0
        while True:
            while len(self._work) < self._standing.slots and (player := self._next()) is not None:
                self._go(player, now + player.ready_s)
            if not self._work:
                return now
            ends_s, _, player = heapq.heappop(self._work)
            now = max(now, ends_s)
            self._arrive(player, now)

    def _known(self, trial: Underway) -> _Player:
        epoch_s = trial.epoch_s or self._epoch_s()
        quality = self._rules.known.get(trial.trial, self._chance.gauss(0, 1))
        player = _Player(trial.trial, trial.epochs, 0, epoch_s, quality, trial.delay, -min(trial.silent_s, epoch_s))
        if trial.epochs == 0:
            player.ready_s = max(0.0, self._standing.begin_s - trial.silent_s)
        player.whole = trial.whole or self._length(trial.epochs, trial.delay)
        return player

    def _next(self) -> _Player | None:
        if self._waiting:
            return self._waiting.pop(0)
        first = self._scheduler.rungs[0] if self._scheduler.rungs else 0
        coming = self._to_come > 0 or any(player.epochs - player.delay < first for _, _, player in self._work)
        while (promoted := self._scheduler.promotable(coming)) is not None:
            if promoted in self._paused:
                self._scheduler.promote(promoted)
                return self._paused.pop(promoted)
            self._scheduler.leave(promoted)
        if self._to_come == 0:
            return None
        self._to_come -= 1
        name, delay = f"to come {self._to_come}", self._chance.choice(self._rules.delays)
        self._scheduler.enter(name)
        quality = self._chance.gauss(0, 1)
        return _Player(name, 0, self._length(0, delay), self._epoch_s(), quality, delay, self._standing.begin_s)

    def _epoch_s(self) -> float:
        return self._chance.choice(self._standing.epoch_s)

    def _length(self, done: int, delay: int) -> int:
        """Epochs after which a trial ends by itself, given that it has not after those done."""
        most, longer = self._plan.max_epochs, [length for length in self._standing.lengths if length > done]
        if self._plan.confirmation is not None:
            return max(done, self._chance.choice(self._plan.confirmation.candidates).epoch)
        if len(self._standing.lengths) >= _LENGTHS and longer:
            return self._chance.choice(longer)
        patience = self._plan.fixed.get("patience")
        if not isinstance(patience, int) or delay + patience >= most:
            return most
        # Its best epoch may be any; nobody knows better before some have ended.
        return max(done + 1, min(most, delay + patience + self._chance.randint(1, most)))

    def _go(self, player: _Player, from_s: float) -> None:
        """Trains it to where it is judged next."""
        ahead = [rung + player.delay for rung in self._scheduler.rungs if rung + player.delay > player.epochs]
        if self._plan.scheduler in EVERY_EPOCH:
            ahead = [player.epochs + 1]
        until = max(player.epochs, min([player.whole, *ahead]))
        ends_s = from_s + (until - player.epochs) * player.epoch_s
        player.epochs, player.ready_s = until, 0.0
        heapq.heappush(self._work, (ends_s, self._order, player))
        self._order += 1

    def _arrive(self, player: _Player, now: float) -> None:
        if player.epochs >= player.whole:
            self._scheduler.leave(player.trial)
            return
        score = _STAYS**0.5 * player.quality + (1 - _STAYS) ** 0.5 * self._chance.gauss(0, 1)
        verdict = self._scheduler.judge(player.trial, player.epochs - player.delay, score)
        if verdict == "go on":
            self._go(player, now)
        elif verdict == "pause":
            self._paused[player.trial] = player
        else:
            self._scheduler.leave(player.trial)
