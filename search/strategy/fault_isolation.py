"""Which trials may have broken the worker that they trained in, and with whom they may train again."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class IsolationGroup:
    """Trials one of which may have broken a worker: they train among themselves, and nobody joins them.

    Args:    first: of them.
             count: how many they are.
    """

    first: str
    count: int


def halved(members: Sequence[str]) -> dict[str, IsolationGroup]:
    """Whom each trial of a worker that broke trains with from now on: the half of it that it is in.

    So whoever breaks workers is alone in the end, and fails alone. A break that was nobody's fault costs its trials half of their
    company; one trial's fault costs it as many breaks as its company can be halved, and the others none of their retries.

    Args:    members: two trials or more.
    """
    middle = (len(members) + 1) // 2
    return {trial: IsolationGroup(half[0], len(half)) for half in (members[:middle], members[middle:]) for trial in half}
