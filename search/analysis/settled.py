"""Searches that have ended for good, of which `resume` has only to say so."""

from dataclasses import dataclass
from pathlib import Path

from search.analysis.leaderboard import RecordedSearch, open_search
from search.execution.replanning import Extension
from search.records.settlement import Settlement, settlement_of
from search.records.trials import ENDED

#: How a search has ended → the command that goes on with it all the same, and what that does.
_MORE = {
    "all trials": ("resume {name} --trials +N", "adds trials"),
    "epoch budget": ("resume {name} --epoch-budget +N", "adds epochs"),
    "GPU hours": ("resume {name} --gpu-hours +H", "adds hours"),
    "terminated": ("search {task} --warm-start {name}", "begins another that learns from it"),
}


@dataclass(frozen=True)
class SettledSearch:
    """A search, confirmation or reproduction that has ended, with nothing left to do.

    Args:    recorded: the search.
             settlement: that everything which follows its last trial has been done.
    """

    recorded: RecordedSearch
    settlement: Settlement

    def sentence(self, where: str = "") -> str:
        """How it has ended, and what goes on with it.

        Args:    where: what names its storage in a command, behind a space.
        """
        plan, state = self.recorded.plan, self.recorded.state
        confirmed = plan.confirmation.search if plan.confirmation is not None else ""
        command, meaning = {
            "search": _MORE[str(state.ended)],
            "confirmation": (f"confirm {confirmed}", "begins another on other seeds"),
            "reproduction": ("reproduce {task}", "begins another"),
        }[plan.kind]
        what = "trials" if plan.kind == "search" else "runs"
        return (
            f"{plan.name} has ended ({state.ended}: {state.count(*ENDED)} {what}), and nothing is left to do: dermtune"
            f" {command.format(name=plan.name, task=plan.task)}{where} {meaning}"
        )


def settled(storage: Path, name: str, extension: Extension, tracking_uri: str) -> SettledSearch | None:
    """A search of which a resumption would do nothing; None where it would.

    Args:    storage: folder of all searches.
             name: of the search.
             extension: what it is to be given beyond its plan.
             tracking_uri: of the store that is to have it.
    Raises:  SearchNotFound, PlanError: when there is no such search, or its plan is damaged.
    """
    found = open_search(storage, name)
    plan, state = found.plan, found.state
    more = any(getattr(plan, field) != total for field, total in extension.changes(plan).items())
    if found.status != "finished" or state.ended not in _MORE or more:
        return None
    if any(trial.state not in ENDED for trial in state.trials.values()):
        return None
    settlement = settlement_of(found.folder, tracking_uri)
    return None if settlement is None else SettledSearch(found, settlement)
