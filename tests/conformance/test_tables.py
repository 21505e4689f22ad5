"""Every line of every table keeps its promises: tasks, data formats, samplers, schedulers."""

import dataclasses
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from search.records.plan import Plan
from search.records.study import new_study
from search.strategy.distributions import distribution_of, drawn_from, searched_fields, suggest
from search.strategy.samplers import SAMPLERS, STARTUP_TRIALS, drawn_at_random, make_sampler
from search.strategy.schedulers import SCHEDULERS, Ladder, Scheduler, Verdict
from spaces.fields import Field, Value, complete, fields_of, format_value
from spaces.papers import paper_config
from trainables.contract import Objective
from trainables.data import DATASETS, read
from trainables.data.cases import CaseSet
from trainables.data.segmented import SegmentedCases
from trainables.tasks import TASKS, TaskModule

NUM_TRIALS = 25
#: Samplers whose model takes seconds a trial: they take over for the last two, after random ones; all 25 are `slow`.
EXPENSIVE = ("gp",)
#: Schedulers that judge at their first rung and at every epoch after it.
EVERY_EPOCH = ("median",)
#: Loaded while tests are collected: torch takes seconds to import.
MODULES = {task: line.load() for task, line in TASKS.items()}
FIELDS = [(task, field) for task, line in TASKS.items() for field in fields_of(line.space).values()]
PRESETS = [(task, preset) for task, line in TASKS.items() for preset in line.presets]

TASK_FUNCTIONS = (
    "prepare",
    "build",
    "load_model",
    "evaluate",
    "casewise",
    "predictor",
    "explain",
    "explain_model",
    "explain_images",
)
EXPERIMENTS = [(task, name) for task, line in TASKS.items() for name in line.experiments]


def _default_fixed(task: str) -> dict[str, Value]:
    """What a search fixes of itself: the fields that are not searched."""
    return {name: field.default for name, field in fields_of(TASKS[task].space).items() if not field.searched}


@pytest.mark.parametrize("task", TASKS)
def test_a_tasks_space_is_a_frozen_dataclass_of_its_defaults(task: str) -> None:
    space = TASKS[task].space()
    field = dataclasses.fields(space)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError, match=f"cannot assign to field '{field}'"):
        setattr(space, field, None)
    assert dataclasses.asdict(space) == {name: field.default for name, field in fields_of(type(space)).items()}


@pytest.mark.parametrize(("task", "field"), FIELDS, ids=[f"{task}-{field.name}" for task, field in FIELDS])
def test_a_field_is_documented_and_its_default_fits(task: str, field: Field) -> None:
    assert field.doc.strip()
    assert field.check(field.default) == field.default
    assert field.parse(format_value(field.default)) == field.default
    if field.log:
        assert field.low > 0
    if field.kind in ("real", "integer"):
        assert field.low < field.high
    assert len(set(field.choices)) == len(field.choices)
    if field.searched:
        assert not distribution_of(field).single()


@pytest.mark.parametrize(("task", "field"), FIELDS, ids=[f"{task}-{field.name}" for task, field in FIELDS])
def test_a_condition_refers_to_earlier_fields_and_values_that_they_can_take(task: str, field: Field) -> None:
    fields = fields_of(TASKS[task].space)
    earlier = list(fields)[: list(fields).index(field.name)]
    for name, allowed in field.when.items():
        assert name in earlier
        assert allowed
        assert all(fields[name].check(value) == value for value in allowed)


@pytest.mark.parametrize(("task", "field"), FIELDS, ids=[f"{task}-{field.name}" for task, field in FIELDS])
def test_a_choice_is_withheld_beside_values_of_fields_that_are_never_searched(task: str, field: Field) -> None:
    fields = fields_of(TASKS[task].space)
    for withheld, beside in field.without.items():
        assert withheld in field.choices
        assert withheld != field.default
        for name, values in beside.items():
            assert not fields[name].searched
            assert all(fields[name].check(value) == value for value in values)
            (left,) = searched_fields({field.name: field}, {name: values[0]})
            assert set(left.choices) == set(field.choices) - {withheld}


@pytest.mark.parametrize(("task", "preset"), PRESETS)
def test_a_preset_is_valid(task: str, preset: str) -> None:
    line = TASKS[task]
    found = line.presets[preset]
    values = complete(line.space, found.fixed)
    assert {name: values[name] for name in found.fixed} == dict(found.fixed)
    assert found.num_trials >= 1
    assert found.max_epochs >= 1
    assert (found.synthetic_cases > 0) is (found.synthetic_size_px > 0) is (line.synthetic is not None)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_has_both_presets_and_formats_that_exist(task: str) -> None:
    line = TASKS[task]
    assert {"demo", "paper"} <= set(line.presets)
    assert set(line.formats) <= set(DATASETS)
    assert line.synthetic is None or (line.synthetic in line.formats and DATASETS[line.synthetic].synthesise is not None)
    assert line.objective.mode in ("min", "max")


@pytest.mark.parametrize(("task", "name"), EXPERIMENTS)
def test_a_papers_experiment_is_a_valid_configuration_at_every_size(task: str, name: str) -> None:
    line = TASKS[task]
    for preset in line.presets.values():
        fixed = {**_default_fixed(task), **preset.fixed, **line.paper_rules, **line.experiments[name]}
        config = paper_config(fields_of(line.space), fixed)
        assert complete(line.space, {field: value for field, value in config.items() if value is not None}) == config
        assert all(config[field] == value for field, value in line.experiments[name].items())
        assert preset.reproduced_epochs > 0
        assert preset.reproduced_seeds > 0


@pytest.mark.parametrize("task", [name for name, line in TASKS.items() if line.explanation is not None])
def test_what_explanations_are_judged_by_may_not_move_with_what_is_searched(task: str) -> None:
    line = TASKS[task]
    assert line.explanation is not None
    fields = line.moving[line.explanation.metric]
    assert fields
    assert set(fields) <= set(fields_of(line.space)), "it must be there for every trial of a search for it"


@pytest.mark.parametrize("task", TASKS)
def test_a_tasks_module_offers_what_the_protocol_asks(task: str) -> None:
    module = MODULES[task]
    assert isinstance(module, TaskModule)
    assert all(callable(getattr(module, name)) for name in TASK_FUNCTIONS)
    assert module.__name__ == TASKS[task].module  # type: ignore[attr-defined]


def _value_of(config: Mapping[str, Value]) -> float:
    """A simple function of a configuration: the sum of its numbers, each choice weighed by its text."""
    return sum(float(value) if isinstance(value, float | int) else float(len(str(value))) for value in config.values())


def _run(
    task: str, sampler: str, seed: int, max_concurrent: int = 1, *, num_random: int = 0
) -> tuple[optuna.Study, list[dict[str, Value]]]:
    plan = Plan(
        name="conformance",
        task=task,
        source=None,
        preset="demo",
        fixed=_default_fixed(task),
        objective=Objective("value", "max"),
        num_trials=NUM_TRIALS,
        max_epochs=9,
        sampler=sampler,
        max_concurrent=max_concurrent,
        seed=seed,
    )
    study = new_study(plan.name, plan.objectives, make_sampler(dataclasses.replace(plan, sampler="random")))
    configs = []
    for number in range(NUM_TRIALS):
        if number == num_random:
            study.sampler = make_sampler(plan)
        trial = study.ask()
        configs.append(suggest(drawn_from(trial), plan.fields, plan.fixed))
        study.tell(trial, _value_of(configs[-1]))
    return study, configs


_RUNS: dict[tuple[str, str], tuple[optuna.Study, list[dict[str, Value]]]] = {}


@pytest.fixture
def trials(task: str, sampler: str) -> tuple[optuna.Study, list[dict[str, Value]]]:
    """A study of `NUM_TRIALS` trials of the task with the sampler, run once, and their configurations."""
    if (task, sampler) not in _RUNS:
        num_random = NUM_TRIALS - 2 if sampler in EXPENSIVE else 0
        _RUNS[task, sampler] = _run(task, sampler, 0, num_random=num_random)
    return _RUNS[task, sampler]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("task", TASKS)
def test_a_sampler_suggests_valid_configurations(task: str, trials: tuple[optuna.Study, list[dict[str, Value]]]) -> None:
    _check(task, *trials)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("sampler", EXPENSIVE)
@pytest.mark.parametrize("task", TASKS)
def test_an_expensive_sampler_suggests_valid_configurations_from_the_first_trial(task: str, sampler: str) -> None:
    _check(task, *_run(task, sampler, 0))


def _check(task: str, study: optuna.Study, configs: list[dict[str, Value]]) -> None:
    fixed = _default_fixed(task)
    assert NUM_TRIALS > STARTUP_TRIALS
    for config in configs:
        assert complete(TASKS[task].space, config) == config
        assert all(config[name] in (fixed[name], None) for name in fixed)
    assert len({tuple(config.values()) for config in configs}) >= STARTUP_TRIALS
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * NUM_TRIALS


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("task", TASKS)
def test_a_sampler_draws_at_random_what_the_log_says(
    task: str, sampler: str, trials: tuple[optuna.Study, list[dict[str, Value]]]
) -> None:
    study, configs = trials
    fixed = _default_fixed(task)
    fields = searched_fields(fields_of(TASKS[task].space), fixed)
    seen = {name for config in configs for name, value in config.items() if value is not None}
    assert {field.name for field in fields} <= seen
    modelled = study.sampler.infer_relative_search_space(study, study.trials[-1])
    assert drawn_at_random(sampler, fields, fixed) == [field.name for field in fields if field.name not in modelled]


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "gp"])
@pytest.mark.parametrize("max_concurrent", [1, 4])
def test_a_samplers_seed_decides_its_suggestions(sampler: str, max_concurrent: int) -> None:
    one, same, other = (_run("bowl", sampler, seed, max_concurrent)[1] for seed in (7, 7, 8))
    assert one == same
    assert one != other


Report = tuple[str, int, float]


def _reports(seed: int, num_trials: int, num_epochs: int) -> list[Report]:
    """Trial, epoch and score of trials that run side by side, in the order in which they report."""
    generator = random.Random(seed)
    waiting, reports = {f"t{number:04d}": 0 for number in range(num_trials)}, []
    while waiting:
        trial = generator.choice(sorted(waiting))
        waiting[trial] += 1
        reports.append((trial, waiting[trial], generator.random()))
        if waiting[trial] == num_epochs:
            del waiting[trial]
    return reports


def _judge(scheduler: Scheduler, reports: Iterable[Report]) -> list[Verdict]:
    """What becomes of each report's trial; trials enter with their first epoch and go on whatever is said of them."""
    verdicts = []
    for trial, epoch, score in reports:
        if epoch == 1:
            scheduler.enter(trial)
        verdicts.append(scheduler.judge(trial, epoch, score))
    return verdicts


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_scheduler_never_stops_a_lone_trial(scheduler: str) -> None:
    for scores in ([0.0] * 81, [1 / epoch for epoch in range(1, 82)], [-float(epoch) for epoch in range(1, 82)]):
        made = SCHEDULERS[scheduler](Ladder(1, 81, 3))
        assert "stop" not in _judge(made, [("lone", epoch, score) for epoch, score in enumerate(scores, start=1)])


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_scheduler_never_stops_the_best_trial(scheduler: str) -> None:
    """Where everyone waits at a rung, it is the next to go on."""
    made = SCHEDULERS[scheduler](Ladder(1, 81, 3))
    _judge(made, _reports(0, 20, 81))
    for epoch in range(1, 82):
        (verdict,) = _judge(made, [("best", epoch, 2.0)])
        assert verdict != "stop"
        if verdict == "pause":
            assert made.promotable(more_to_come=False) == "best"
            made.promote("best")


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_schedulers_decisions_are_reproducible(scheduler: str) -> None:
    reports = _reports(1, 20, 27)
    one, other = (_judge(SCHEDULERS[scheduler](Ladder(3, 27, 3)), reports) for _ in range(2))
    assert one == other


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_scheduler_decides_at_its_rungs_only(scheduler: str) -> None:
    made, reports = SCHEDULERS[scheduler](Ladder(3, 27, 3)), _reports(2, 20, 27)
    decided = {epoch for (_, epoch, _), verdict in zip(reports, _judge(made, reports), strict=True) if verdict != "go on"}
    assert bool(decided) is (scheduler != "none")
    if scheduler in EVERY_EPOCH:
        assert min(decided) >= made.rungs[0]
    else:
        assert decided <= set(made.rungs)
    assert all(3 <= rung < 27 for rung in made.rungs)


@pytest.mark.parametrize("name", DATASETS)
def test_a_data_format_says_what_its_path_must_hold(name: str) -> None:
    assert DATASETS[name].layout
    assert any(name in line.formats for line in TASKS.values())


@pytest.mark.parametrize("name", [name for name, line in DATASETS.items() if line.synthesise is not None])
def test_a_format_reads_what_it_draws(name: str, tmp_path: Path) -> None:
    synthesise = DATASETS[name].synthesise
    assert synthesise is not None
    for folder in (tmp_path / "the set", tmp_path / "again"):
        synthesise(folder, 60, 96, 5)
    found, again = (read(f"{name}:{folder}") for folder in (tmp_path / "the set", tmp_path / "again"))
    cases = _labelled(found)
    assert sum(len(members) for members in cases.splits.values()) == 60
    assert {"train", "valid", "test"} == set(cases.splits)
    assert set(found.counts()) == set(cases.splits)
    assert all(image.is_file() for image in cases.images)
    assert cases.melanoma_class is not None
    assert cases.fingerprint("") == _labelled(again).fingerprint("")
    findings = DATASETS[name].inspect(found, None)
    assert (findings.problems, findings.twins) == ([], [])
    classes = {task.name: task.classes for task in cases.tasks}
    assert _labelled(read(f"{name}:{tmp_path / 'the set'}", classes)).tasks == cases.tasks


def _labelled(cases: object) -> CaseSet:
    """The labelled cases of whatever a reader gave."""
    found = cases.cases if isinstance(cases, SegmentedCases) else cases
    assert isinstance(found, CaseSet)
    return found
