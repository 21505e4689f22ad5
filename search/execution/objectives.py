"""What a search optimises and what limits it, checked against what its trials report."""

from collections.abc import Mapping

from search.errors import PlanError
from search.records.constraints import Constraint
from search.records.spec import SearchSpec
from search.strategy.samplers import SAMPLERS
from spaces.fields import Value, fields_of, format_value
from spaces.hints import suggest
from trainables.contract import COSTS, Mode, Objective, Prepared
from trainables.tasks import Task

#: Last parts of metrics that are minimised unless told otherwise.
_BETTER_LOW = ("loss", "calibration_error", "calibration_error_mean", "height", "attention_entropy", "repeated")


def objectives_of(spec: SearchSpec, task: Task, fixed: Mapping[str, Value], prepared: Prepared) -> list[Objective]:
    """What is optimised, the one that ranks first.

    Raises:  PlanError: when a metric is not reported or moves with what is searched.
    """
    if not spec.metric and task.objective.metric not in prepared.metrics:
        raise PlanError(
            f"the validation cases must be such that there is a {task.objective.metric}; these have none (`search` takes another"
            f" by --metric: one of {', '.join(prepared.metrics)})"
        )
    return [_fair(parse_metric(text, prepared.metrics, _first(prepared)), task, fixed) for text in spec.metric] or [
        task.objective
    ]


def check_metrics(spec: SearchSpec) -> None:
    """Refuses what no data could make right.

    Raises:  PlanError: when a metric stands twice, or the sampler takes one only.
    """
    names = [text.partition(":")[0] for text in spec.metric]
    if len(set(names)) < len(names):
        raise PlanError(f"--metric must name each metric once; got {', '.join(spec.metric)}")
    if len(names) > 1 and spec.terminate:
        raise PlanError(f"--terminate must be for a single metric; got {', '.join(names)}")
    if len(names) > 1 and not SAMPLERS[spec.sampler].several_objectives:
        fitting = ", ".join(name for name, sampler in SAMPLERS.items() if sampler.several_objectives)
        raise PlanError(f"--sampler must be one that takes several metrics ({fitting}); got {spec.sampler}")


def constraints_of(spec: SearchSpec, prepared: Prepared) -> tuple[Constraint, ...]:
    """The limits, each on a metric that trials report.

    Raises:  PlanError: when one is not.
    """
    found = tuple(Constraint.parse(text) for text in spec.constraints)
    for limit in found:
        if limit.metric not in prepared.metrics:
            near = suggest(limit.metric, prepared.metrics, _first(prepared)) or f" (one of {', '.join(prepared.metrics)})"
            raise PlanError(f"--constraint must be on a metric that trials report; got {limit.metric!r}{near}")
    if found and not SAMPLERS[spec.sampler].limits:
        fitting = ", ".join(name for name, sampler in SAMPLERS.items() if sampler.limits)
        raise PlanError(f"--sampler must be one that knows constraints ({fitting}); got {spec.sampler}")
    return found


def parse_metric(text: str, reported: tuple[str, ...], first: tuple[str, ...] = ()) -> Objective:
    """`NAME[:min|max]`; losses and errors are minimised unless told otherwise.

    Args:    first: beginnings of the metrics that are proposed before others.
    Raises:  PlanError: when no trial will report the metric.
    """
    name, _, given = text.partition(":")
    if given not in ("", "min", "max") or name not in reported:
        near = suggest(name, reported, first) or f" (one of {', '.join(reported)})"
        raise PlanError(f"--metric must be NAME[:min|max] of a metric that trials report; got {text!r}{near}")
    falls = name in COSTS or name.rpartition("/")[2] in _BETTER_LOW
    mode: Mode = "min" if given == "min" or (not given and falls) else "max"
    return Objective(name, mode)


def _first(prepared: Prepared) -> tuple[str, ...]:
    """How the metrics begin that one means unless one says otherwise: the diagnosis's in validation."""
    return (f"valid/{prepared.primary}/",) if prepared.primary else ("valid/",)


def _fair(objective: Objective, task: Task, fixed: Mapping[str, Value]) -> Objective:
    """The objective itself, unless the search could win by moving the yardstick.

    Raises:  PlanError: when a searched field decides what the metric means.
    """
    moving = [name for name in task.moving.get(objective.metric, ()) if name not in fixed]
    if moving:
        fields = fields_of(task.space)
        fixes = " ".join(f"--set {name}={format_value(fields[name].default)}" for name in moving)
        raise PlanError(
            f"--metric must not move with what is searched; got {objective.metric} while it does (fix it, for example: {fixes})"
        )
    return objective
