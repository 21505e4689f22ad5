"""From what was asked to a plan that can run: everything that can be wrong is said before anything is written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from search.errors import PlanError
from search.execution.choices import known, known_task, parse_fusing, parse_gpus
from search.execution.code_version import code_version
from search.execution.objectives import check_metrics, constraints_of, objectives_of
from search.execution.resources import NodeGroup, have_gpus, local_nodes, max_concurrent
from search.records.folder import SearchFolder
from search.records.plan import PLANNED, Plan
from search.records.spec import FIELDS, SearchSpec
from search.records.standing import ranking_note
from search.strategy.packing import MOST_PER_GPU
from search.strategy.rungs import rungs
from search.strategy.samplers import SAMPLERS
from search.strategy.schedulers import SCHEDULERS, default_grace_period
from spaces.fields import Field, Value, complete, fields_of, format_value, known_field, narrowed
from spaces.follow import followers
from spaces.offers import limited, offered
from spaces.papers import paper_config
from spaces.presets import Preset
from trainables.contract import Prepared
from trainables.data import portable_source, split_source
from trainables.data.images import Progress
from trainables.data.source import synthetic_location
from trainables.tasks import Task


@dataclass(frozen=True)
class Preparation:
    """A plan, and what was learnt of the data on the way to it."""

    plan: Plan
    prepared: Prepared


def prepare_search(
    spec: SearchSpec,
    *,
    storage: Path | None = None,
    address: str | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
    by_cases: bool = True,
) -> Preparation:
    """Checks a request, reads its data and decodes its images.

    Args:    spec: what was asked.
             storage: folder of all searches, where those to start from lie.
             address: of the cluster that will run it; its resources are looked at when it is joined.
             progress: called with (done, all) while images are decoded.
             say: called with a line when something takes a while.
             by_cases: whether ranges follow the number of training cases.
    Raises:  PlanError, ValueError: when the request does not make sense.
             DataError: when the data cannot be used.
    """
    task = known_task(spec.task)
    preset = task.presets[known(_preset_name(spec), task.presets, "--preset")]
    fields = narrowed(fields_of(task.space), spec.space)
    fixed = _fixed(task.space, fields, preset, spec)
    fields = offered(fields, fixed)
    for table, name, flag in ((SAMPLERS, spec.sampler, "--sampler"), (SCHEDULERS, spec.scheduler, "--scheduler")):
        known(name, table, flag)
    rungs(*_ladder(spec, preset))
    spec.check()
    check_metrics(spec)
    _check_warm_start(spec, storage)
    parse_fusing(spec.fuse_trials, spec.task)
    source = _source(task, preset, spec.data, say)
    prepared = task.load().prepare(paper_config(fields, fixed), source, progress)
    plan = _plan(spec, task, fixed, source, prepared)
    if by_cases:
        plan = _limited(plan, prepared)
    return Preparation(plan if address else with_resources(plan, local_nodes()), prepared)


def _preset_name(spec: SearchSpec) -> str:
    return spec.preset or ("paper" if spec.data else "demo")


def _ladder(spec: SearchSpec, preset: Preset) -> tuple[int, int, int]:
    """Grace period, epochs of a whole trial, reduction."""
    max_epochs = spec.max_epochs or preset.max_epochs
    return spec.grace_period or default_grace_period(max_epochs), max_epochs, spec.reduction


def _plan(spec: SearchSpec, task: Task, fixed: Mapping[str, Value], source: str | None, prepared: Prepared) -> Plan:
    """What was asked, on these data; no word yet of the machines."""
    preset_name = _preset_name(spec)
    preset = task.presets[preset_name]
    grace_period, max_epochs, _ = _ladder(spec, preset)
    fuse_trials = parse_fusing(spec.fuse_trials, spec.task)
    objective, *further = objectives_of(spec, task, fixed, prepared)
    return Plan(
        **{
            **{name: getattr(spec, name) for name in FIELDS.keys() & PLANNED},
            "name": spec.name or f"{spec.task}-{datetime.now():%Y%m%d-%H%M%S}",
            "preset": preset_name,
            "num_trials": spec.num_trials or preset.num_trials,
            "max_epochs": max_epochs,
            "grace_period": grace_period,
            "gpus_per_trial": parse_gpus(spec.gpus_per_trial),
            "fuse_trials": fuse_trials,
            "constraints": constraints_of(spec, prepared),
        },
        source=source,
        fixed=fixed,
        objective=objective,
        further_objectives=tuple(further),
        data_fingerprint=prepared.fingerprint,
        num_cases=prepared.num_cases,
        code_version=code_version(),
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        notes=tuple(prepared.notes),
        search_notes=(*ranking_note(max_epochs), *_shapes_note(task, fixed, fuse_trials)),
    )


def _limited(plan: Plan, prepared: Prepared) -> Plan:
    """The plan, ranges of the user's aside, with ranges that follow the number of training cases."""
    ours = {field.name: field for field in plan.searched if field.name not in plan.space}
    limits = limited(ours, prepared.num_train, prepared.num_labels)
    notes = (
        f"{name} is searched up to {fields.high:g}, not {ours[name].high:g}, with {prepared.num_train} training cases (--space"
        f" {name}= for another range)"
        for name, fields in narrowed({name: ours[name] for name in limits}, limits).items()
    )
    return replace(plan, case_limits=limits, search_notes=(*plan.search_notes, *notes))


def _check_warm_start(spec: SearchSpec, storage: Path | None) -> None:
    """Refuses searches to start from that are not there or of another task.

    Raises:  PlanError, SearchNotFound: when one is.
    """
    for name in spec.warm_start:
        if storage is None:
            raise PlanError(f"--warm-start must be a search in the storage; got {name!r} and no storage")
        earlier = SearchFolder(storage, name).plan()
        if earlier.task != spec.task or earlier.kind != "search":
            raise PlanError(f"--warm-start must be a search of {spec.task}; got {name!r}, which is of {earlier.task}")


def _fixed(space: type, fields: Mapping[str, Field], preset: Preset, spec: SearchSpec) -> dict[str, Value]:
    both = [name for name in spec.settings if name in spec.space]
    if both:
        raise PlanError(f"a field must be fixed or narrowed; got {both[0]} in --set and in --space")
    unsearched = {name: f.default for name, f in fields.items() if not f.searched}
    given = {name: known_field(fields, name).parse(text) for name, text in spec.settings.items()}
    following = followers(fields, given)
    asked = {**unsearched, **preset.fixed, **following, **given}
    fixed = {name: value for name, value in asked.items() if name not in spec.space}
    loose = [(f.follows, n) for n, f in fields.items() if f.follows in spec.space and n not in {**given, **spec.space}]
    if loose:
        ranged, follower = loose[0]
        raise PlanError(f"--space {ranged}= must stand beside --set {follower}=, which follows a value and no range; got none")
    complete(
        space, {name: value for name, value in fixed.items() if name not in unsearched or name in given or name in following}
    )
    unreachable = [name for name in spec.space if not _reachable(fields[name], fixed)]
    if unreachable:
        needs = " and ".join(f"{key}={'|'.join(map(format_value, ok))}" for key, ok in fields[unreachable[0]].when.items())
        raise PlanError(f"--space {unreachable[0]}= must be left out unless {needs}")
    return fixed


def _reachable(field: Field, fixed: Mapping[str, Value]) -> bool:
    """Whether the field can mean anything beside these."""
    return all(fixed[name] in allowed for name, allowed in field.when.items() if name in fixed)


def _shapes_note(task: Task, fixed: Mapping[str, Value], fuse_trials: int | None) -> tuple[str, ...]:
    """What keeps trials from training together, where they are to."""
    varying = [name for name in task.shapes if name not in fixed]
    if fuse_trials == 1 or not varying:
        return ()
    return (
        f"trials train as one program where they agree in {', '.join(varying)}: fix some of these (--set) or narrow them"
        " (--space), and more of them do",
    )


def _source(task: Task, preset: Preset, data: str | None, say: Callable[[str], None] | None) -> str | None:
    """What to train on, by a name that means the same on every node; fetched or drawn here already.

    Raises:  DataError: when there is no such data.
    """
    if data is not None:
        source = portable_source(data, task.formats)
    elif task.synthetic is not None:
        source = f"{task.synthetic}:{synthetic_location(preset.synthetic_cases, preset.synthetic_size_px)}"
    else:
        return None
    split_source(source, task.formats, say)
    return source


def with_resources(plan: Plan, nodes: Sequence[NodeGroup]) -> Plan:
    """The plan for the machines that will run it: no GPU where there is none, and how many trials at once at most.

    Raises:  PlanError: when not even one trial fits.
    """
    gpus = plan.gpus_per_trial if have_gpus(nodes) or plan.gpus_per_trial is not None else 0.0
    if gpus is None and plan.fuse_trials != 1:
        gpus = 1.0  # trials that train as one program share it without a share of their own
    if plan.gpu_hours is not None and gpus == 0:
        raise PlanError("--gpu-hours must be for trials on GPUs; got none here (--epoch-budget and --time-budget know no GPU)")
    smallest = 1 / MOST_PER_GPU if gpus is None else gpus
    fits = max_concurrent(nodes, plan.cpus_per_trial, smallest, plan.max_concurrent)
    return replace(plan, gpus_per_trial=gpus, max_concurrent=min(fits, plan.num_trials))
