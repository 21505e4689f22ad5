"""Trials as one program: the same decisions as with a process each, who waits, who joins, what a failure costs."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from bowl_events import epoch_result, event_of, state_of
from bowl_search import bowl_curves, bowl_epochs, ends, heard_epochs, of_kind, recording, with_changes

from search.records.events import Event
from search.records.plan import Candidate, Confirmation, Experiment, Plan, Reproduction
from search.strategy.confirmation_controller import ConfirmationController
from search.strategy.fusion_size import FusionSize
from search.strategy.optuna_controller import OptunaController
from search.strategy.packing import Packing
from search.strategy.reproduction_controller import ReproductionController
from search.strategy.retries import Failure, FailureKind
from search.strategy.samplers import make_sampler
from search.strategy.search_controller import SearchController
from search.strategy.simulation import Curve, simulate
from search.strategy.suggestion import Suggestion
from search.strategy.worker_pool import WorkerPool
from search.strategy.worker_report import Change, TrialReport
from spaces.bowl import BowlSpace
from spaces.fields import complete
from trainables.tasks import TASKS

RANDOM = with_changes(sampler="random", num_trials=30)
Fault = Callable[[str, int], Failure | None]


def in_lockstep(plan: Plan) -> Callable[[Suggestion], Curve]:
    """The bowl's curves, all epochs of which take a second, as of fused trials."""
    known = bowl_curves(plan)
    return lambda suggestion: Curve([replace(epoch, seconds=1.0) for epoch in known(suggestion).epochs])


def workers_of(controller: SearchController, size: int | FusionSize, shapes: Sequence[str] = (), **more: Any) -> WorkerPool:
    known = {"packing": Packing(0.0, controller.state), **more}
    return WorkerPool(controller, shapes, size if isinstance(size, FusionSize) else FusionSize(size), **known)


def run(
    controller: SearchController,
    pool: WorkerPool,
    num_slots: int = 1,
    *,
    fault: Fault = lambda trial, epoch: None,
    breaks: Callable[[list[str], int], Failure | None] = lambda members, tick: None,
    until: int = 10**6,
) -> list[list[str]]:
    """What processes would do with this pool, an epoch of each after another.

    Args:    fault: (trial, epoch) → what befalls this member then.
             breaks: (members, steps of all workers so far) → what befalls the whole worker then.
             until: steps after which the driver is gone.
    Returns: members at each step.
    """
    places: dict[str, list[tuple[Suggestion, list[dict[str, Any]], int]]] = {}
    seen: list[list[str]] = []

    def member(suggestion: Suggestion) -> tuple[Suggestion, list[dict[str, Any]], int]:
        return suggestion, bowl_epochs(controller.plan, suggestion), suggestion.known_epoch

    while True:
        while pool.num_running < num_slots and (begun := pool.begin()) is not None:
            places[begun[0]] = [member(found) for found in begun[1]]
        if not places:
            break
        for name in list(places):
            if len(seen) == until:
                return seen
            members = [found[0].trial for found in places[name]]
            seen.append(members)
            broken = breaks(members, len(seen))
            if broken is not None:
                del places[name]
                pool.on_error(name, broken)
                continue
            reports = []
            for suggestion, epochs, done in places[name]:
                failure = fault(suggestion.trial, done + 1)
                saved = done + 1 if done + 1 in controller.rungs else None
                ended = "max_epochs" if done + 1 == len(epochs) else None
                if failure is None:
                    reports.append(TrialReport(suggestion.trial, [epochs[done]], ended, None, saved, {"host": "here"}))
                else:
                    reports.append(TrialReport(suggestion.trial, failure=failure))
            change = pool.on_result(name, reports)
            joining, stays = [member(found) for found in change.joining], []
            for suggestion, epochs, done in places[name]:
                if suggestion.trial not in change.leaving:
                    stays.append((suggestion, epochs, done + 1))
                elif joining:
                    stays.append(joining.pop(0))
            places[name] = [*stays, *joining]
            assert change.over == (not places[name])
            if change.over:
                del places[name]
    controller.settle()
    return seen


def decisions(events: Sequence[Event]) -> list[tuple[str, str, str]]:
    """What became of trials, in order."""
    return [(event.event, event.trial, str(event.reason)) for event in of_kind(events, "finished", "stopped", "paused")]


def values(events: Sequence[Event]) -> Mapping[str, list[Any]]:
    """Trial → its epochs' scores."""
    found: dict[str, list[Any]] = {}
    for event in of_kind(events, "reported"):
        found.setdefault(event.trial, []).extend((epoch.epoch, epoch.score) for epoch in event.epochs)
    return found


@pytest.mark.parametrize("scheduler", ["asha", "none", "median"])
@pytest.mark.parametrize("size", [2, 5, 8])
def test_decisions_are_those_of_a_process_a_trial_under_the_simulated_clock(size: int, scheduler: str) -> None:
    plan = replace(RANDOM, scheduler=scheduler)
    journal, events = recording()
    simulate(OptunaController(plan, journal), in_lockstep(plan), size)
    journal_of_arrays, events_of_arrays = recording()
    controller = OptunaController(plan, journal_of_arrays)
    run(controller, workers_of(controller, size))
    assert decisions(events_of_arrays) == decisions(events)
    assert values(events_of_arrays) == values(events)
    told = [[event.config for event in of_kind(found, "suggested")] for found in (events, events_of_arrays)]
    assert told[0] == told[1]
    if scheduler == "asha":
        assert len(of_kind(events, "stopped")) > 5


@pytest.mark.parametrize("scheduler", ["asha-promote", "one-epoch"])
def test_whoever_is_paused_leaves_and_joins_again_where_it_was(scheduler: str) -> None:
    plan = replace(RANDOM, scheduler=scheduler)
    journal, events = recording()
    controller = OptunaController(plan, journal)
    run(controller, workers_of(controller, 4))
    assert of_kind(events, "paused")
    assert of_kind(events, "promoted")
    assert all(epochs == list(range(1, len(epochs) + 1)) for epochs in heard_epochs(events).values())
    assert ends(events) == Counter({f"t{i:04d}": 1 for i in range(30)})


def test_members_have_one_shape_and_few_wait_for_theirs() -> None:
    journal, events = recording()
    controller = OptunaController(replace(RANDOM, scheduler="none"), journal)
    pool = workers_of(controller, 6, ("shape",))
    waiting: list[int] = []
    steps = run(controller, pool, fault=lambda trial, epoch: waiting.append(pool.num_waiting))
    shape = {event.trial: event.config["shape"] for event in of_kind(events, "suggested")}
    assert all(len({shape[trial] for trial in members}) == 1 for members in steps)
    assert set(shape.values()) == {"round", "tilted"}
    assert max(waiting) <= 6
    assert max(map(len, steps)) == 6
    assert ends(events) == Counter(shape.keys())


def test_two_slots_have_a_worker_each() -> None:
    journal, events = recording()
    controller = OptunaController(replace(RANDOM, scheduler="none"), journal)
    steps = run(controller, workers_of(controller, 4), num_slots=2)
    assert steps[0] == ["t0000", "t0001", "t0002", "t0003"]
    assert steps[1] == ["t0004", "t0005", "t0006", "t0007"]
    assert len(ends(events)) == 30


def test_a_member_that_diverges_fails_alone() -> None:
    plan = replace(RANDOM, scheduler="none")
    journal, events = recording()
    controller = OptunaController(plan, journal)
    diverged = Failure("diverged", "TrialDiverged: valid/height must be finite")
    run(controller, workers_of(controller, 8), fault=lambda trial, epoch: diverged if (trial, epoch) == ("t0003", 4) else None)
    (failed,) = of_kind(events, "failed")
    assert (failed.trial, failed.reason) == ("t0003", diverged.reason)
    journal, alone = recording()
    simulate(OptunaController(plan, journal), in_lockstep(plan), 8)
    assert {t: v for t, v in values(events).items() if t != "t0003"} == {t: v for t, v in values(alone).items() if t != "t0003"}
    assert len(values(events)["t0003"]) == 3


@pytest.mark.parametrize("kind", ["raised", "died", "hung"])
def test_a_worker_that_breaks_is_halved_until_only_its_cause_fails(kind: FailureKind) -> None:
    told: list[tuple[str, str]] = []
    notes: list[str] = []
    journal, events = recording()
    controller = OptunaController(replace(RANDOM, num_trials=6, scheduler="none"), journal)
    pool = workers_of(
        controller,
        4,
        on_failure=lambda trial, failure: notes.append(trial),
        record=lambda trial, status: told.append((trial, status)),
    )
    cause = Failure(kind, "RuntimeError: t0002 is not to be trained")
    steps = run(controller, pool, breaks=lambda members, tick: cause if "t0002" in members and tick > 2 else None)
    assert steps[2] == ["t0000", "t0001", "t0002", "t0003"], "where it broke"
    assert steps[3] == ["t0000", "t0001"]
    assert ["t0002", "t0003"] in steps
    assert ["t0003"] in steps
    assert [event.trial for event in of_kind(events, "failed")] == ["t0002"]
    own = [event.trial for event in of_kind(events, "retried") if event.suspects is None]
    assert set(own) == {"t0002"}, "only the cause has lost retries of its own"
    assert ends(events) == Counter({f"t{i:04d}": 1 for i in range(6)})
    assert dict(told)["t0002"] == "ERROR"
    assert {dict(told)[trial] for trial in ("t0000", "t0001", "t0003", "t0004", "t0005")} == {"TERMINATED"}
    assert notes.count("t0000") == 1
    # Epochs 1 and 2 were heard of; each goes on behind them, and nobody is told an epoch twice.
    assert all(epochs == list(range(1, 10)) for trial, epochs in heard_epochs(events).items() if trial != "t0002")


def test_suspects_stay_among_themselves_after_a_crash() -> None:
    plan = replace(RANDOM, num_trials=4, scheduler="none")
    journal, events = recording()
    controller = OptunaController(plan, journal)
    raised = Failure("raised", "RuntimeError: t0002 is not to be trained")

    def breaks(members: list[str], tick: int) -> Failure | None:
        return raised if "t0002" in members else None

    run(controller, workers_of(controller, 4), breaks=breaks, until=1)
    journal, more = recording()
    again = OptunaController(plan, journal, events)
    pool = workers_of(again, 4)
    steps = run(again, pool, breaks=breaks)
    assert {tuple(members) for members in steps} == {("t0000", "t0001"), ("t0002", "t0003"), ("t0002",), ("t0003",)}
    assert [event.trial for event in of_kind(more, "failed")] == ["t0002"]


def test_suspects_that_were_paused_are_promoted_into_their_own_company() -> None:
    plan = replace(RANDOM, num_trials=12, scheduler="asha-promote")
    journal, events = recording()
    controller = OptunaController(plan, journal)
    raised = Failure("raised", "RuntimeError: t0002 is not to be trained")
    run(controller, workers_of(controller, 4), breaks=lambda members, tick: raised if "t0002" in members and tick > 1 else None)
    assert {event.trial for event in of_kind(events, "failed")} <= {"t0002"}
    assert ends(events) == Counter({f"t{i:04d}": 1 for i in range(12)})


def test_a_worker_is_not_refilled_while_others_wait_for_its_slot() -> None:
    journal, _ = recording()
    controller = OptunaController(replace(RANDOM, num_trials=8, scheduler="none"), journal)
    steps = run(
        controller,
        workers_of(controller, 4, may_refill=lambda: False),
        fault=lambda trial, epoch: Failure("diverged", "no number") if (trial, epoch) == ("t0001", 2) else None,
    )
    assert ["t0000", "t0002", "t0003"] in steps
    assert steps[-1] == ["t0004", "t0005", "t0006", "t0007"], "in a worker of their own"


def test_a_member_that_does_not_fit_makes_the_worker_smaller_before_its_batches() -> None:
    journal, events = recording()
    controller = OptunaController(replace(RANDOM, num_trials=6, scheduler="none"), journal)
    memory = Failure("memory", "OutOfMemory: no room to build it")
    failures = [memory]
    run(
        controller,
        workers_of(controller, 6),
        fault=lambda trial, epoch: failures.pop() if failures and (trial, epoch) == ("t0003", 1) else None,
    )
    (retried,) = of_kind(events, "retried")
    assert (retried.trial, retried.batch_parts) == ("t0003", 1)
    assert [event.num_trials for event in of_kind(events, "fused")] == [3]
    assert len(of_kind(events, "finished")) == 6


def test_one_that_is_given_a_larger_share_of_a_gpu_trains_with_its_like() -> None:
    journal, events = recording()
    controller = OptunaController(replace(RANDOM, num_trials=3, scheduler="none", gpus_per_trial=0.25), journal)
    packing = Packing(0.25, controller.state)
    pool = workers_of(controller, 1, packing=packing)
    memory = Failure("memory", "OutOfMemory: no room")
    failures = [memory]
    run(controller, pool, breaks=lambda members, tick: failures.pop() if failures and "t0001" in members else None)
    assert [event.gpus_per_trial for event in of_kind(events, "retried")] == [0.5]
    assert packing.of("t0001").share == 0.5
    assert len(of_kind(events, "finished")) == 3


def test_a_break_after_the_budget_ends_whoever_was_in_it() -> None:
    journal, events = recording()
    controller = OptunaController(replace(RANDOM, scheduler="none", epoch_budget=8), journal)
    lost = Failure("lost", "NodeLost: it does not answer any more")
    run(controller, workers_of(controller, 4), num_slots=2, breaks=lambda members, tick: lost if tick == 4 else None)
    suggested = {event.trial for event in of_kind(events, "suggested")}
    assert {event.trial for event in of_kind(events, "stopped")} == suggested


def test_a_lost_node_costs_no_member_its_place_among_others() -> None:
    journal, events = recording()
    controller = OptunaController(replace(RANDOM, num_trials=4, scheduler="none"), journal)
    lost = Failure("lost", "NodeLost: it does not answer any more")
    steps = run(controller, workers_of(controller, 4), breaks=lambda members, tick: lost if tick == 3 else None)
    assert steps[2] == steps[3] == ["t0000", "t0001", "t0002", "t0003"]
    assert len(of_kind(events, "retried")) == 4
    assert set(ends(events).values()) == {1}


def test_a_worker_that_does_not_fit_the_memory_is_halved_until_it_does() -> None:
    journal, events = recording()
    controller = OptunaController(replace(RANDOM, num_trials=16, scheduler="none"), journal)
    pool = workers_of(controller, 8)
    memory = Failure("memory", "OutOfMemory: no room")
    steps = run(controller, pool, breaks=lambda members, tick: memory if len(members) > 2 else None)
    assert [len(members) for members in steps[:3]] == [8, 4, 2]
    shape = (None, 0.0, 1)
    assert pool.size.limit(shape) == 2
    assert [event.num_trials for event in of_kind(events, "fused")] == [4, 2]
    assert not of_kind(events, "failed")
    assert ends(events) == Counter({f"t{i:04d}": 1 for i in range(16)})
    again = FusionSize(8, of_kind(events, "fused"))
    assert (again.limit(shape), again.is_settled(shape)) == (2, True)


def test_a_single_member_without_memory_gets_smaller_parts_and_then_fails() -> None:
    journal, events = recording()
    controller = OptunaController(replace(RANDOM, num_trials=1, scheduler="none"), journal)
    memory = Failure("memory", "OutOfMemory: no room")
    run(controller, workers_of(controller, 4), breaks=lambda members, tick: memory)
    assert [event.batch_parts for event in of_kind(events, "retried")] == [2, 4, 8]
    assert [event.trial for event in of_kind(events, "failed")] == ["t0000"]


def test_a_trial_whose_batches_pass_whole_is_not_tried_again_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "bowl", replace(TASKS["bowl"], whole_batches={"shape": ("round",)}))
    journal, events = recording()
    controller = OptunaController(replace(RANDOM, num_trials=1, scheduler="none"), journal)
    memory = Failure("memory", "OutOfMemory: no room")
    run(controller, workers_of(controller, 4), breaks=lambda members, tick: memory)
    assert [event.config["shape"] for event in of_kind(events, "suggested")] == ["round"]
    assert of_kind(events, "retried") == []
    (failed,) = of_kind(events, "failed")
    assert failed.reason == "OutOfMemory: no room (it needs less memory: fewer trials at once by --max-concurrent)"


def test_a_budget_ends_those_that_train_and_those_that_wait() -> None:
    told: dict[str, str] = {}
    journal, events = recording()
    controller = OptunaController(replace(RANDOM, scheduler="none", epoch_budget=20), journal)
    run(controller, workers_of(controller, 6, ("shape",), record=told.__setitem__))
    suggested = {event.trial for event in of_kind(events, "suggested")}
    assert {event.trial for event in of_kind(events, "finished", "stopped")} == suggested
    assert {told[trial] for trial in suggested} == {"TERMINATED"}


def test_a_request_to_end_stops_all_members() -> None:
    journal, events = recording()
    controller = OptunaController(replace(RANDOM, scheduler="none"), journal)
    ticks: list[int] = []
    pool = workers_of(controller, 4, end_now=lambda: "stop requested" if len(ticks) > 4 else None)
    run(controller, pool, until=2, fault=lambda trial, epoch: ticks.append(epoch))
    assert [event.trial for event in of_kind(events, "stopped")] == ["t0000", "t0001", "t0002", "t0003"]
    assert {event.reason for event in of_kind(events, "stopped")} == {"stop requested"}


def test_after_a_crash_members_go_on_behind_what_was_heard_of_them() -> None:
    plan = replace(RANDOM, num_trials=12)
    journal, events = recording()
    controller = OptunaController(plan, journal)
    run(controller, workers_of(controller, 4), until=7)
    journal, more = recording()
    again = OptunaController(plan, journal, events)
    run(again, workers_of(again, 4))
    assert of_kind(more, "continued")
    whole = [*events, *more]
    assert ends(whole) == Counter({f"t{i:04d}": 1 for i in range(12)})
    assert all(epochs == list(range(1, len(epochs) + 1)) for epochs in heard_epochs(whole).values())


@pytest.mark.parametrize(("fuse_trials", "liar"), [(1, False), (8, True), (None, True)])
def test_the_sampler_knows_that_an_arrays_members_run_at_once(fuse_trials: int | None, liar: bool) -> None:
    plan = replace(RANDOM, sampler="tpe", max_concurrent=1, fuse_trials=fuse_trials)
    assert make_sampler(plan).inner._constant_liar is liar


def grid_of(shapes: str, **changes: Any) -> tuple[ReproductionController, list[Event]]:
    """A search whose trials have these shapes, in order, r for round and t for tilted, and the events that it writes."""
    configs = [complete(BowlSpace, {"shape": "round" if letter == "r" else "tilted"}) for letter in shapes]
    reproduction = Reproduction(tuple(Experiment(f"e{index}", config) for index, config in enumerate(configs)), 1)
    plan = with_changes(num_trials=len(shapes), scheduler="none", reproduction=reproduction, **changes)
    journal, events = recording()
    return ReproductionController(plan, journal), events


def heard(*trials: str, epochs: Sequence[int] = (1,), seconds: float = 1.0, ended: str | None = None) -> list[TrialReport]:
    """The same epochs of each of these trials."""
    known = [
        epoch_result(epoch=epoch, metrics={"valid/height": 1.0}, score=1.0, seconds=seconds, is_best=epoch == 1)
        for epoch in epochs
    ]
    return [TrialReport(trial, known, ended, where={"host": f"host of {trial}"}, notes=["smaller"]) for trial in trials]


def begin(pool: WorkerPool) -> tuple[str, list[str]]:
    """A new worker's id and members; there must be one."""
    begun = pool.begin()
    assert begun is not None
    return begun[0], [suggestion.trial for suggestion in begun[1]]


def test_workers_of_fused_trials_are_numbered_from_none_on() -> None:
    controller, _ = grid_of("rrtr")
    workers = workers_of(controller, 2, ("shape",))
    assert [begin(workers) for _ in range(3)] == [("w0000", ["t0000", "t0001"]), ("w0001", ["t0002"]), ("w0002", ["t0003"])]
    assert workers.begin() is None
    assert workers.num_running == 3


def test_a_worker_of_one_trial_has_its_id_and_is_never_refilled() -> None:
    controller, events = grid_of("rr")
    told: list[tuple[str, str]] = []
    workers = workers_of(controller, 1, record=lambda trial, status: told.append((trial, status)))
    assert begin(workers) == ("t0000", ["t0000"])
    assert workers.on_result("t0000", heard("t0000")) == Change([], [], False)
    assert workers.on_result("t0000", heard("t0000", epochs=(2,), ended="patience")) == Change(["t0000"], [], True)
    assert begin(workers) == ("t0001", ["t0001"])
    assert told == [("t0000", "RUNNING"), ("t0000", "TERMINATED"), ("t0001", "RUNNING")]
    assert [event.trial for event in of_kind(events, "started")] == ["t0000"]


@pytest.mark.parametrize("kind", ["died", "lost", "hung", "raised"])
def test_a_trial_goes_on_in_another_worker_when_its_own_breaks(kind: FailureKind) -> None:
    controller, events = grid_of("rr")
    workers = workers_of(controller, 1)
    begin(workers)
    workers.on_result("t0000", heard("t0000", epochs=(1, 2)))
    workers.on_error("t0000", Failure(kind, "it is gone"))
    assert workers.num_running == 0
    begun = workers.begin()
    assert begun is not None
    assert (begun[0], [(found.trial, found.known_epoch) for found in begun[1]]) == ("t0000.2", [("t0000", 2)])
    workers.on_result("t0000.2", heard("t0000", epochs=(3,)))
    assert [event.trial for event in of_kind(events, "started")] == ["t0000", "t0000"], "it says again where it trains"
    assert [event.kind for event in of_kind(events, "retried")] == [kind]


def test_a_trial_alone_that_diverges_ends_its_worker_without_breaking_it() -> None:
    controller, events = grid_of("rr")
    told: list[tuple[str, str]] = []
    workers = workers_of(controller, 1, record=lambda trial, status: told.append((trial, status)))
    begin(workers)
    change = workers.on_result("t0000", [TrialReport("t0000", failure=Failure("diverged", "the loss is nan"))])
    assert change == Change(["t0000"], [], True)
    assert [(event.trial, event.reason) for event in of_kind(events, "failed")] == [("t0000", "the loss is nan")]
    assert told[-1] == ("t0000", "ERROR")


def test_who_had_a_whole_gpu_while_nothing_was_known_goes_on_with_its_share() -> None:
    controller, events = grid_of("rrr")
    packing = Packing(None, controller.state)
    workers = workers_of(controller, 1, packing=packing)
    assert [begin(workers)[0] for _ in range(2)] == ["t0000", "t0001"]
    assert packing.share == 1.0
    change = workers.on_result("t0000", heard("t0000", epochs=(1, 2)), 1000.0, 10_000.0)
    assert [event.gpus_per_trial for event in of_kind(events, "packed")] == [packing.share]
    assert packing.share < 1.0
    assert change == Change(["t0000"], [], True), "it leaves, and its worker with it"
    # The other leaves when it is heard of next; whoever waits goes before a new one.
    begun = workers.begin()
    assert begun is not None
    assert (begun[0], [(found.trial, found.known_epoch) for found in begun[1]]) == ("t0000.2", [("t0000", 2)])
    assert workers.on_result("t0001", heard("t0001"), 1000.0, 10_000.0).over
    assert begin(workers) == ("t0001.2", ["t0001"])
    assert begin(workers) == ("t0002", ["t0002"])
    for worker, trial in (("t0000.2", "t0000"), ("t0001.2", "t0001"), ("t0002", "t0002")):
        assert not workers.on_result(worker, heard(trial, epochs=(3,)), 1000.0, 10_000.0).over, "each has its share now"
    assert [event.trial for event in of_kind(events, "started")] == ["t0000", "t0001", "t0000", "t0001", "t0002"]


def test_a_trial_that_ends_with_its_first_report_does_not_go_on_with_a_share() -> None:
    controller, _ = grid_of("r")
    workers = workers_of(controller, 1, packing=Packing(None, controller.state))
    begin(workers)
    assert workers.on_result("t0000", heard("t0000", ended="max_epochs"), 1000.0, 10_000.0).over
    assert workers.begin() is None


def test_a_trial_that_ran_out_of_memory_gets_more_than_it_had() -> None:
    controller, events = grid_of("rr")
    packing = Packing(None, controller.state)
    workers = workers_of(controller, 1, packing=packing)
    begin(workers)
    begin(workers)
    workers.on_result("t0000", heard("t0000"), 1000.0, 10_000.0)
    assert packing.share < 1.0
    # The other has a whole GPU still, of which there is no more; the bowl's batches pass in parts.
    workers.on_error("t0001", Failure("memory", "CUDA out of memory"))
    (retried,) = of_kind(events, "retried")
    assert (retried.gpus_per_trial, retried.batch_parts) == (1.0, 2)
    # One that has its small share gets a larger one.
    assert begin(workers) == ("t0000.2", ["t0000"])
    workers.on_error("t0000.2", Failure("memory", "CUDA out of memory"))
    assert of_kind(events, "retried")[-1].gpus_per_trial == 2 * packing.share


def test_no_more_trials_are_asked_for_than_a_worker_holds() -> None:
    controller, _ = grid_of("trrtrrr")
    pool = workers_of(controller, 4, ("shape",))
    assert begin(pool) == ("w0000", ["t0000", "t0003"]), "two of each shape wait: the one that came first"
    assert (pool.num_waiting, controller.num_to_come) == (2, 3)


def test_of_two_shapes_the_one_that_more_wait_for_begins() -> None:
    controller, _ = grid_of("trrrr")
    pool = workers_of(controller, 4, ("shape",))
    assert begin(pool) == ("w0000", ["t0001", "t0002", "t0003"])
    assert (pool.num_waiting, controller.num_to_come) == (1, 1)
    assert begin(pool) == ("w0001", ["t0000"])


def test_no_trial_is_asked_for_once_a_worker_of_its_shape_is_full() -> None:
    """Round ones train in twos, others may in fours."""
    past = [event_of("fused", shape=[None, 0.0, 1, "round"], num_trials=2, settled=True)]
    controller, _ = grid_of("rrrr")
    pool = workers_of(controller, FusionSize(4, past), ("shape",))
    assert begin(pool)[1] == ["t0000", "t0001"]
    assert (pool.num_waiting, controller.num_to_come) == (0, 2)


def test_one_that_leaves_is_replaced_by_one_and_nobody_is_asked_for_to_wait() -> None:
    told: list[tuple[str, str]] = []
    controller, events = grid_of("rrrr")
    pool = workers_of(controller, 2, record=lambda trial, status: told.append((trial, status)))
    name, members = begin(pool)
    assert told == [("t0000", "RUNNING"), ("t0001", "RUNNING")]
    change = pool.on_result(name, [*heard("t0000"), *heard("t0001", ended="patience")])
    assert (change.leaving, [found.trial for found in change.joining], change.over) == (["t0001"], ["t0002"], False)
    assert told[2:] == [("t0001", "TERMINATED"), ("t0002", "RUNNING")]
    assert (pool.num_waiting, controller.num_to_come) == (0, 1)
    change = pool.on_result(name, heard("t0000", "t0002", epochs=(2,), ended="patience"))
    assert (change.leaving, [found.trial for found in change.joining]) == (["t0000", "t0002"], ["t0003"])
    change = pool.on_result(name, heard("t0003", ended="patience"))
    assert (change.leaving, change.joining, change.over, pool.num_running) == (["t0003"], [], True, 0)
    assert [event.trial for event in of_kind(events, "finished")] == ["t0001", "t0000", "t0002", "t0003"]
    assert members == ["t0000", "t0001"]


def test_a_members_first_report_says_where_it_trains_and_no_later_one_does() -> None:
    controller, events = grid_of("rr")
    pool = workers_of(controller, 2)
    name, _ = begin(pool)
    pool.on_result(name, [TrialReport("t0000"), *heard("t0001")])
    assert [event.trial for event in of_kind(events, "started")] == ["t0001"], "nothing is known of the other yet"
    pool.on_result(name, [*heard("t0000"), *heard("t0001", epochs=(2,))])
    pool.on_result(name, [*heard("t0000", epochs=(2,)), *heard("t0001", epochs=(3,))])
    assert [(event.trial, event.where, event.notes) for event in of_kind(events, "started")] == [
        ("t0001", {"host": "host of t0001"}, ["smaller"]),
        ("t0000", {"host": "host of t0000"}, ["smaller"]),
    ]
    kinds = [event.event for event in events if event.trial == "t0000"]
    assert kinds == ["suggested", "started", "reported", "reported"]


def test_whoever_goes_on_in_another_worker_says_again_where() -> None:
    controller, events = grid_of("r")
    pool = workers_of(controller, 2)
    name, _ = begin(pool)
    pool.on_result(name, heard("t0000"))
    pool.on_error(name, Failure("lost", "NodeLost: gone"))
    name, _ = begin(pool)
    pool.on_result(name, heard("t0000", epochs=(2,)))
    assert name == "w0001"
    assert [event.trial for event in of_kind(events, "started")] == ["t0000", "t0000"]


def test_whoever_is_promoted_says_again_where_it_trains() -> None:
    journal, events = recording()
    controller = OptunaController(replace(RANDOM, num_trials=9, scheduler="asha-promote"), journal)
    run(controller, workers_of(controller, 3))
    begun = Counter(event.trial for event in of_kind(events, "started"))
    promoted = Counter(event.trial for event in of_kind(events, "promoted"))
    assert promoted
    assert begun == Counter({f"t{i:04d}": 1 for i in range(9)}) + promoted


def test_a_search_that_must_end_stops_every_member_at_once_and_asks_for_nobody() -> None:
    told: dict[str, str] = {}
    reasons: list[str] = []
    controller, events = grid_of("rrrr")
    pool = workers_of(controller, 2, end_now=lambda: reasons[0] if reasons else None, record=told.__setitem__)
    name, _ = begin(pool)
    pool.on_result(name, heard("t0000", "t0001"))
    reasons.append("time budget")
    change = pool.on_result(name, heard("t0000", "t0001", epochs=(2,)))
    assert (change.leaving, change.joining, change.over) == (["t0000", "t0001"], [], True)
    assert [(event.trial, event.reason) for event in of_kind(events, "stopped")] == [
        ("t0000", "time budget"),
        ("t0001", "time budget"),
    ]
    assert told == {"t0000": "TERMINATED", "t0001": "TERMINATED"}
    assert (pool.num_running, controller.num_running, controller.num_to_come) == (0, 0, 2)


@pytest.mark.parametrize("kind", ["lost", "memory"])
def test_nobody_is_tried_again_in_a_search_that_must_end(kind: FailureKind) -> None:
    told: dict[str, str] = {}
    failed: list[tuple[str, str]] = []
    controller, events = grid_of("r")
    pool = workers_of(
        controller,
        1,
        end_now=lambda: "stop requested",
        on_failure=lambda trial, failure: failed.append((trial, failure.reason)),
        record=told.__setitem__,
    )
    name, _ = begin(pool)
    pool.on_error(name, Failure(kind, "it is gone"))
    assert [(event.trial, event.reason) for event in of_kind(events, "failed")] == [("t0000", "it is gone")]
    assert of_kind(events, "retried") == []
    assert (failed, told) == ([("t0000", "it is gone")], {"t0000": "ERROR"})
    assert pool.begin() is None


def test_whoever_waits_when_a_report_spends_the_budget_is_ended() -> None:
    told: dict[str, str] = {}
    controller, events = grid_of("rrt", epoch_budget=2)
    pool = workers_of(controller, 3, ("shape",), record=told.__setitem__)
    name, members = begin(pool)
    assert (members, pool.num_waiting) == (["t0000", "t0001"], 1)
    pool.on_result(name, [*heard("t0000"), TrialReport("t0001")])
    assert pool.num_waiting == 1, "an epoch is left of the budget"
    pool.on_result(name, [TrialReport("t0000"), *heard("t0001")])
    stopped = [(event.trial, event.reason) for event in of_kind(events, "stopped")]
    assert stopped == [("t0001", "epoch budget"), ("t0002", "epoch budget")]
    assert told == {"t0000": "RUNNING", "t0001": "TERMINATED", "t0002": "TERMINATED"}
    assert (pool.num_waiting, pool.begin()) == (0, None)


def test_members_of_a_worker_that_breaks_when_the_budget_is_spent_do_not_wait_for_another() -> None:
    told: dict[str, str] = {}
    controller, events = grid_of("rr", epoch_budget=2)
    pool = workers_of(controller, 1, record=told.__setitem__)
    (first, _), (second, _) = begin(pool), begin(pool)
    pool.on_result(first, heard("t0000", epochs=(1, 2)))
    pool.on_error(second, Failure("lost", "NodeLost: gone"))
    stopped = [(event.trial, event.reason) for event in of_kind(events, "stopped")]
    assert stopped == [("t0000", "epoch budget"), ("t0001", "epoch budget")]
    assert told == {"t0000": "TERMINATED", "t0001": "TERMINATED"}
    assert (pool.num_waiting, pool.num_running) == (0, 0)


def test_the_epochs_that_were_heard_say_how_fast_a_worker_is() -> None:
    """Alone 2 epochs in 5 s; together 2 in 6 s, less than 1.2 times as fast: 0.33 against 0.48 epochs per second."""
    shape = (None, 0.0, 1)
    controller, events = grid_of("rrrr")
    pool = workers_of(controller, FusionSize(None))
    name, members = begin(pool)
    assert members == ["t0000"]
    assert pool.on_result(name, heard("t0000")).joining == [], "what is made once is in the first report"
    change = pool.on_result(name, heard("t0000", epochs=(2, 3), seconds=2.5))
    assert [found.trial for found in change.joining] == ["t0001"]
    pool.on_result(name, [*heard("t0000", epochs=(4,)), *heard("t0001")])
    pool.on_result(name, [*heard("t0000", epochs=(5,), seconds=3.0), *heard("t0001", epochs=(2,), seconds=3.0)])
    found = [(event.shape, event.num_trials, event.settled) for event in of_kind(events, "fused")]
    assert found == [((None, 0.0, 1), 2, False), ((None, 0.0, 1), 1, True)]
    assert (pool.size.limit(shape), pool.size.is_settled(shape)) == (1, True)


def test_the_memory_that_an_array_was_seen_to_use_ends_its_growth() -> None:
    controller, events = grid_of("rrrr")
    pool = workers_of(controller, FusionSize(None))
    name, _ = begin(pool)
    pool.on_result(name, heard("t0000"), 70.0, 100.0)
    pool.on_result(name, heard("t0000", epochs=(2,), seconds=5.0), 70.0, 100.0)
    assert [(event.num_trials, event.settled) for event in of_kind(events, "fused")] == [(1, True)]


def suspects_of_three() -> tuple[ReproductionController, list[Event], WorkerPool]:
    """Three of four trials are left in a worker when it breaks; four more are still to come."""
    controller, events = grid_of("rrrrrrrr")
    refill = [False]
    pool = workers_of(controller, 4, may_refill=lambda: refill[0])
    name, _ = begin(pool)
    pool.on_result(name, [*heard("t0000", "t0001", "t0002"), *heard("t0003", ended="patience")])
    refill[0] = True
    pool.on_error(name, Failure("raised", "RuntimeError: one of them"))
    return controller, events, pool


def test_suspects_begin_without_anybody_being_asked_for() -> None:
    controller, events, pool = suspects_of_three()
    assert [event.suspects for event in of_kind(events, "retried")] == [("t0000", 2), ("t0000", 2), ("t0002", 1)]
    assert (pool.num_waiting, controller.num_to_come) == (3, 4)
    assert begin(pool)[1] == ["t0000", "t0001"]
    assert (pool.num_waiting, controller.num_to_come) == (1, 4)


def test_the_place_of_a_suspect_stays_empty_and_nobody_is_asked_for_to_take_it() -> None:
    controller, _, pool = suspects_of_three()
    name, _ = begin(pool)
    change = pool.on_result(name, [*heard("t0000", epochs=(2,)), *heard("t0001", epochs=(2,), ended="patience")])
    assert (change.leaving, change.joining, change.over) == (["t0001"], [], False)
    assert (pool.num_waiting, controller.num_to_come) == (1, 4)


def test_suspects_that_run_out_of_memory_together_are_parted_before_any_gets_smaller_batches() -> None:
    _, events, pool = suspects_of_three()
    name, _ = begin(pool)
    pool.on_error(name, Failure("memory", "OutOfMemory: no room"))
    found = [(event.trial, event.kind, event.suspects, event.batch_parts) for event in of_kind(events, "retried")[3:]]
    assert found == [("t0000", "memory", ("t0000", 1), 1), ("t0001", "memory", ("t0001", 1), 1)]
    assert of_kind(events, "fused") == [], "it says nothing of how many others fit"


def test_trials_of_two_folds_never_train_as_one() -> None:
    """They have other data."""
    candidates = tuple(Candidate(name, complete(BowlSpace, {"x": x}), 5, 0.5) for name, x in (("a", 0.1), ("b", 0.2)))
    plan = with_changes(num_trials=4, confirmation=Confirmation("bowls", candidates, 1, 2))
    journal, events = recording()
    controller = ConfirmationController(plan, journal)
    pool = workers_of(controller, 4)
    first, second = [[f"{name}-seed7-fold{fold}" for name in "ab"] for fold in (1, 2)]
    assert [begin(pool)[1], begin(pool)[1]] == [first, second]
    fold = {event.trial: event.fold for event in of_kind(events, "suggested")}
    assert fold == {**dict.fromkeys(first, 1), **dict.fromkeys(second, 2)}


def test_a_retry_that_was_a_trials_own_leaves_it_its_company() -> None:
    own = {"kind": "lost", "reason": "gone", "gpus_per_trial": 0.0}
    state = state_of(
        event_of("suggested", trial="t0000"),
        event_of("suggested", trial="t0001"),
        event_of("retried", trial="t0000", **own),
        event_of("retried", trial="t0001", suspects=("t0001", 2), **own),
        event_of("retried", trial="t0001", **own),
    )
    assert [state.trials[trial].suspects for trial in ("t0000", "t0001")] == [None, ("t0001", 2)]
