"""Which trials may have broken the array that they trained in, and with whom they may train again."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from search.records.ledger import Event


@dataclass(frozen=True)
class Suspects:
    """Trials one of which may have broken an array: they train among themselves, and nobody joins them.

    Args:    first: of them.
             count: how many they are.
    """

    first: str
    count: int


class Suspicion:
    """Halves the company of whoever breaks arrays until it is alone, so that it fails alone.

    A break that was nobody's fault costs its trials half of their company; one trial's fault costs it as many breaks as
    its company can be halved, and the others none of their retries.

    Args:    past: events of earlier processes.
    """

    def __init__(self, past: Iterable[Event] = ()) -> None:
        self._groups: dict[str, Suspects] = {}
        for event in past:
            if event["event"] == "retried" and event.get("suspects"):
                self._groups[event["trial"]] = Suspects(*event["suspects"])

    def of(self, trial: str) -> Suspects | None:
        """With whom a trial may train, None with anybody."""
        return self._groups.get(trial)

    def halve(self, members: Sequence[str]) -> None:
        """An array of two members or more has broken."""
        middle = (len(members) + 1) // 2
        for half in (members[:middle], members[middle:]):
            group = Suspects(half[0], len(half))
            self._groups |= dict.fromkeys(half, group)
