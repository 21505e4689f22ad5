"""The plan of a reproduction: a paper's experiments on a few seeds, by the paper's rules."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from search.errors import PlanError
from search.execution.choices import known, known_task
from search.execution.planning import prepare_search
from search.records.plan import Experiment, Plan, Reproduction
from search.records.spec import SearchSpec
from spaces.fields import fields_of, format_value
from spaces.papers import paper_config
from trainables.data.images import Progress
from trainables.tasks import TASKS


def prepare_reproduction(
    spec: SearchSpec,
    num_seeds: int | None = None,
    only: Sequence[str] = (),
    *,
    address: str | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> Plan:
    """Checks what is asked for, reads the data, and looks at them as every experiment will.

    Args:    spec: task, data, preset, settings and resources; what else a search would choose, the paper has chosen.
             num_seeds: runs of each experiment, None for the preset's.
             only: names of experiments, none for all.
             address: of the cluster that will run it.
             progress: called with (done, all) while images are decoded.
             say: called with a line when something takes a while.
    Raises:  PlanError, ValueError: when the request does not make sense.
             DataError: when the data cannot be used, by one of the experiments at least.
    """
    task = known_task(spec.task)
    if not task.experiments:
        raise PlanError(f"TASK must be one of {', '.join(n for n, t in TASKS.items() if t.experiments)}; got {spec.task!r}")
    names = [known(name, task.experiments, "--only") for name in dict.fromkeys(only)] or list(task.experiments)
    varied = {field for name in names for field in task.experiments[name]}
    clash = sorted((varied | set(task.paper_rules)) & set(spec.settings))
    if clash:
        raise PlanError(f"--set must leave alone what tells the experiments apart, and the paper's rules; got {', '.join(clash)}")
    rules = {name: format_value(value) for name, value in task.paper_rules.items()}
    preset = task.presets[known(spec.preset or ("paper" if spec.data else "demo"), task.presets, "--preset")]
    seeds = num_seeds or preset.reproduced_seeds
    asked = replace(
        spec,
        settings={**rules, **spec.settings},
        max_epochs=spec.max_epochs or preset.reproduced_epochs,
        num_trials=len(names) * seeds,
        keep_checkpoints=len(names) * seeds,
        sampler="random",
        scheduler="none",
    )
    plan = prepare_search(asked, address=address, progress=progress, say=say, by_cases=False).plan
    fields = fields_of(task.space)
    experiments = tuple(Experiment(name, paper_config(fields, {**plan.fixed, **task.experiments[name]})) for name in names)
    module = task.load()
    for experiment in experiments:
        module.prepare(experiment.config, plan.source, progress)
    config = paper_config(fields, plan.fixed)
    return replace(
        plan,
        name=spec.name or plan.name.replace(f"{spec.task}-", f"{spec.task}-paper-", 1),
        fixed={name: value for name, value in config.items() if name not in varied},
        reproduction=Reproduction(experiments, seeds),
    )
