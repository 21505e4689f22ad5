"""Limits that a trial must keep to be the best: `valid/PN/recall>=0.8`, `model/num_parameters<=200000`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from search.errors import PlanError
from spaces.fields import format_value

Relation = Literal["<=", ">="]
_TEXT = re.compile(r"\s*(?P<metric>\S+?)\s*(?P<relation><=|>=)\s*(?P<bound>\S+)\s*")


@dataclass(frozen=True)
class Constraint:
    """One limit.

    Args:    metric: as in a report.
             relation: "<=" or ">=".
             bound: the limit itself is within it.
    """

    metric: str
    relation: Relation
    bound: float

    @staticmethod
    def parse(text: str) -> "Constraint":
        """`METRIC<=V` or `METRIC>=V`.

        Raises:  PlanError: when it is neither.
        """
        match = _TEXT.fullmatch(text)
        try:
            bound = float(match["bound"]) if match else float("nan")
        except ValueError:
            bound = float("nan")
        if match is None or bound != bound:
            raise PlanError(f"--constraint must be METRIC<=V or METRIC>=V; got {text!r}")
        return Constraint(match["metric"], "<=" if match["relation"] == "<=" else ">=", bound)

    def excess(self, metrics: Mapping[str, float]) -> float:
        """How far beyond the limit, 0 or less within it; a metric that is not there is infinitely far."""
        if self.metric not in metrics:
            return float("inf")
        over = metrics[self.metric] - self.bound
        return over if self.relation == "<=" else -over

    def __str__(self) -> str:
        return f"{self.metric}{self.relation}{format_value(self.bound)}"
