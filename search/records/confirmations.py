"""Which confirmations a search has, by their plans."""

import logging
from pathlib import Path

from search.errors import PlanError
from search.records.folder import list_searches
from search.records.plan import Plan

_log = logging.getLogger("dermtune")


def confirmations_of(storage: Path, search: str) -> list[Plan]:
    """The plans of a search's confirmations, oldest first; one whose plan cannot be read is said and left out.

    Args:    storage: folder of all searches.
             search: name of the one that they confirm.
    """
    found = []
    for folder in list_searches(storage):
        try:
            plan = folder.plan()
        except PlanError as error:
            _log.warning("%s is left out: %s", folder.name, error)
            continue
        if plan.confirmation is not None and plan.confirmation.search == search:
            found.append(plan)
    return found


def seeds_of(plan: Plan) -> range:
    """The seeds on which each configuration of a confirmation runs."""
    return range(plan.seed, plan.seed + (plan.confirmation.num_seeds if plan.confirmation is not None else 0))
