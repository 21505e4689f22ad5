"""What does a search's own process cost a trial, and does that stay so from 1000 trials to 10,000?

1000 slots in simulated time, without Ray: trials are real `bowl` trials, one report an epoch, whose epochs take simulated
seconds. All else is what `dermtune search bowl` runs in its own process: sampler, scheduler, Optuna's study, ledger (on disk,
synced), state, checkpoint store, lines on the terminal, the translation for MLflow (told to nobody), and the files written at
the end. What the trials themselves cost is left out. Every size runs in a process of its own.

    python benchmarks/scale.py [--slots 1000] [--trials 1000 2000 5000 10000] [--sampler tpe]

Exits 1 when the processor time of a trial at the largest size is more than 1.5 times that at the smallest. Beside the whole it
says what that ratio is without the sampler's model, which has nothing to be fitted on until the first trials have ended, and
what all but the model costs an epoch: in a larger search trials train longer, since fewer of its rungs are young.
"""

import argparse
import gc
import heapq
import os
import platform
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import optuna
from rich.console import Console

from search.cli.live import SearchView
from search.records.checkpoint_store import CheckpointStore
from search.records.curves import write_curves
from search.records.events import (
    Checkpointed,
    EpochResult,
    Event,
    Failed,
    Finished,
    Reported,
    SearchEnded,
    SearchStarted,
    Stopped,
    Suggested,
)
from search.records.folder import SearchFolder
from search.records.ledger import Journal, Ledger
from search.records.plan import Plan
from search.records.state import SearchState
from search.records.study import export_to_file
from search.records.tracking.entities import closing_metrics, closing_tags, metrics_of, ms, trial_params
from search.records.trials import ENDED
from search.strategy.optuna_controller import OptunaController
from search.strategy.rungs import RungCorrelation
from search.strategy.samplers import SAMPLERS
from search.strategy.schedulers import SCHEDULERS, Scheduler, default_grace_period
from search.strategy.simulation import SimulatedClock
from search.strategy.study_from_state import study_of
from search.strategy.suggestion import Suggestion
from spaces.fields import fields_of
from trainables.contract import TrialRequest
from trainables.tasks import TASKS

BAR = 1.5
MODEL, END = "model", "end"
#: What the trials themselves cost, which is not the search's.
SLOTS = "slots"
#: Part → what it is, in the order of the table.
PARTS = {
    MODEL: "the sampler that Optuna gives",
    "view": "the rung that it is shown",
    "judge": "the scheduler",
    "rungs": "how rungs correlate",
    "ledger": "lines and fsync",
    "state": "the trials",
    "store": "which checkpoints stay",
    "lines": "on the terminal",
    "mlflow": "translation only",
    "rest": "controller, Optuna's study",
}


HEADS = (
    "trials",
    "epochs",
    "   all",
    *(part.rjust(6) for part in PARTS),
    "at end",
    "MiB before",
    "peak",
    "with end",
    "KiB a trial",
    "wall s",
)


class Meter:
    """Processor seconds of this process by part; a part within another counts for itself."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._open, self._since = ["rest"], time.process_time()

    def _turn(self) -> None:
        now = time.process_time()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What happens in here is of that part."""
        self._turn()
        self._open.append(name)
        try:
            yield
        finally:
            self._turn()
            self._open.pop()

    def around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """A function that is of that part."""

        def measured(*arguments: Any, **named: Any) -> Any:
            with self.part(name):
                return call(*arguments, **named)

        return measured

    @property
    def driver_s(self) -> float:
        """Of the search: everything but the slots, and what is written at the end."""
        self._turn()
        return sum(seconds for name, seconds in self.seconds.items() if name in PARTS)


class Metered:
    """Stands for another object; all its methods are of a part."""

    def __init__(self, inner: Any, meter: Meter, part: str) -> None:
        self._inner, self._meter, self._part = inner, meter, part

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._meter.around(self._part, found) if callable(found) else found


class MeteredController(OptunaController):
    """The search's own, its sampler, its scheduler and its rungs measured."""

    def __init__(self, plan: Plan, journal: Journal, meter: Meter, state: SearchState) -> None:
        self._meter = meter
        super().__init__(plan, journal, state=state, wrap=self._measured)
        self.scheduler = cast(Scheduler, Metered(self.scheduler, meter, "judge"))

    def _measured(self, sampler: Any) -> Any:
        sampler.inner = Metered(sampler.inner, self._meter, MODEL)
        return Metered(sampler, self._meter, "view")

    def correlation(self, rung: int, later: int) -> RungCorrelation | None:
        """The search's own."""
        with self._meter.part("rungs"):
            return super().correlation(rung, later)


class MeteredLedger(Ledger):
    """The search's own, measured."""

    def __init__(self, file: Path, clock: Callable[[], float], meter: Meter) -> None:
        super().__init__(file, clock)
        self._meter = meter

    def _write(self, events: Sequence[Event]) -> None:
        with self._meter.part("ledger"):
            super()._write(events)


class Translation:
    """Makes what MLflow would be told of every event, and tells nobody."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._state = plan, SearchState(plan.objective, plan.constraints)
        self._waiting: defaultdict[str, list[Any]] = defaultdict(list)

    def on_event(self, event: Event) -> None:
        """Takes one event."""
        self._state.apply(event)
        if isinstance(event, Suggested):
            self._waiting[event.trial] += trial_params(self._state.trials[event.trial]).items()
        elif isinstance(event, Reported):
            self._waiting[event.trial] += metrics_of(event)
        elif isinstance(event, Finished | Stopped | Failed):
            record, told = self._state.trials[event.trial], self._waiting.pop(event.trial, [])
            told += closing_metrics(record, ms(event)) + closing_tags(record, self._plan, record.checkpoint)


class Slot:
    """What an actor does with a trial: trains, writes checkpoints, reports.

    Args:    plan: of the search.
             suggestion: the trial.
             folder: of the trial.
    """

    def __init__(self, plan: Plan, suggestion: Suggestion, folder: Path) -> None:
        self.name, self._folder, self.begun = suggestion.trial, folder, False
        request = TrialRequest(
            task=plan.task,
            config=suggestion.config,
            source=None,
            seed=suggestion.seed,
            objective=plan.objective,
            max_epochs=plan.max_epochs,
            device="cpu",
        )
        self._trial = TASKS[plan.task].load().build(request)
        #: Half a minute or so; trials that all took the same would end in step.
        self.epoch_s = float(np.random.default_rng(suggestion.seed).lognormal(3.4, 0.5))

    def train(self, rungs: Sequence[int]) -> dict[str, Any]:
        """One epoch; gives what the controller is told."""
        report = self._trial.step()
        told = {key: value for key, value in asdict(report).items() if key not in ("ended", "costs")}
        system = {"process_cpu_percent": 99.9, "process_memory_mib": 432.1}
        checkpoint, at_rung = None, report.epoch in rungs and report.ended is None
        if report.is_best:
            place = self._write(f"best-{report.epoch:05d}")
            path, sha256 = f"trials/{self.name}/{place}", f"{report.epoch:064d}"
            checkpoint = Checkpointed(trial=self.name, epoch=report.epoch, path=path, sha256=sha256)
        if at_rung:
            self._write(f"state-{report.epoch:05d}")
        return {
            "epochs": [EpochResult(**{**told, "seconds": self.epoch_s, "system": system})],
            "ended": report.ended,
            "checkpoint": checkpoint,
            "saved_epoch": report.epoch if at_rung else None,
        }

    def _write(self, name: str) -> str:
        """A checkpoint's folder, for the store to find and delete."""
        (self._folder / name).mkdir(parents=True)
        for file in ("config.json", "sha256sums"):
            (self._folder / name / file).write_text(f"{name}\n")
        return name


@dataclass
class Size:
    """What was found at one size.

    Args:    trials: in the search.
             epochs: of all of them.
             seconds: part → processor seconds.
             tenths: driver's milliseconds a trial in each tenth of the search, by trials that ended.
             before, peak, end: memory in MiB: before the first trial, at most while searching, at most with the files written
                 at the end.
             wall_s: the slots' work included.
    """

    trials: int
    epochs: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    tenths: list[float] = field(default_factory=list)
    before: float = 0.0
    peak: float = 0.0
    end: float = 0.0
    wall_s: float = 0.0

    def ms(self, *parts: str) -> float:
        """Milliseconds a trial of some parts; of the whole search when none is named."""
        return 1000 * sum(self.seconds.get(part, 0.0) for part in parts or PARTS) / self.trials

    @property
    def kib(self) -> float:
        """Memory a trial."""
        return 1024 * max(self.peak - self.before, 0.0) / self.trials


def memory_mib(kind: str) -> float:
    """This process's: "VmRSS" now, "VmHWM" at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{kind}:"))


class Follower:
    """Counts trials that end, says how far the search is and what each tenth of it cost."""

    def __init__(self, plan: Plan, meter: Meter, found: Size) -> None:
        self._plan, self._meter, self._found = plan, meter, found
        self._ended, self._begun = 0, time.monotonic()
        self._mark_s, self._mark = 0.0, 0

    def on_event(self, event: Event) -> None:
        """Takes one event."""
        if isinstance(event, Reported):
            self._found.epochs += len(event.epochs)
        if event.event not in ENDED:
            return
        self._ended += 1
        total = self._plan.num_trials
        if self._ended * 10 // total > (self._ended - 1) * 10 // total:
            spent = self._meter.driver_s
            self._found.tenths.append(1000 * (spent - self._mark_s) / (self._ended - self._mark))
            self._mark_s, self._mark = spent, self._ended
            say(f"{self._ended} of {total} trials, {time.monotonic() - self._begun:.0f} s, {memory_mib('VmRSS'):.0f} MiB")


def drive(plan: Plan, folder: SearchFolder, meter: Meter, found: Size) -> None:
    """A whole search; what it writes at the end included.

    Args:    plan: of the search.
             folder: of the search, made.
             meter: of this process.
             found: filled here.
    """
    clock, state = SimulatedClock(), SearchState(plan.objective, plan.constraints)
    with MeteredLedger(folder.ledger_file, clock, meter) as ledger, Path(os.devnull).open("w") as nowhere:
        store = CheckpointStore(folder, ledger, state, plan.keep_checkpoints, plan.objectives)
        view = SearchView(plan, state, Console(file=nowhere))
        listeners = {"state": state.apply, "store": store.on_event, "mlflow": Translation(plan).on_event}
        for name, listener in {**listeners, "lines": view.on_event}.items():
            ledger.subscribe(meter.around(name, listener))
        ledger.subscribe(meter.around(SLOTS, Follower(plan, meter, found).on_event))
        ledger.append(SearchStarted(name=plan.name, num_trials=plan.num_trials, code_version=plan.code_version))
        _search(MeteredController(plan, ledger, meter, state), folder, meter, clock)
        ledger.append(SearchEnded(reason="all trials"))
    found.peak = memory_mib("VmHWM")
    with meter.part(END):
        say("writing study.db and curves.parquet")
        export_to_file(study_of(plan, state), folder.study_file)
        write_curves(state, folder.curves_file)
    if state.count(*ENDED) != plan.num_trials:
        raise SystemExit(f"the search must end {plan.num_trials} trials; got {state.count(*ENDED)}")


def _search(controller: OptunaController, folder: SearchFolder, meter: Meter, clock: SimulatedClock) -> None:
    """From the first trial to the last; asks the controller what Tune asks it."""
    work: list[tuple[float, int, Slot]] = []
    paused: dict[str, Slot] = {}
    most, order = controller.plan.max_concurrent or 1, 0
    where = {"host": platform.node(), "node": "0" * 56, "pid": 12345, "device": "cpu"}
    while True:
        while controller.num_running < most and not controller.exhausted and (suggestion := controller.next()) is not None:
            with meter.part(SLOTS):
                slot = paused.pop(suggestion.trial, None) or Slot(controller.plan, suggestion, folder.trial(suggestion.trial))
                heapq.heappush(work, (clock.now_s + slot.epoch_s, order, slot))
            order += 1
        if not work:
            break
        with meter.part(SLOTS):
            clock.now_s, _, slot = heapq.heappop(work)
            told = slot.train(controller.rungs)
        if not slot.begun:
            slot.begun = True
            controller.start(slot.name, where)
        if not controller.report(slot.name, **told):
            heapq.heappush(work, (clock.now_s + slot.epoch_s, order, slot))
            order += 1
        elif controller.is_paused(slot.name):
            paused[slot.name] = slot
    controller.settle()


def plan_of(name: str, num_trials: int, slots: int, sampler: str, scheduler: str) -> Plan:
    """What `dermtune search bowl` would plan."""
    task = TASKS["bowl"]
    max_epochs = task.presets["demo"].max_epochs
    return Plan(
        name=name,
        task="bowl",
        source=None,
        preset="demo",
        fixed={field.name: field.default for field in fields_of(task.space).values() if not field.searched},
        objective=task.objective,
        num_trials=num_trials,
        max_epochs=max_epochs,
        sampler=sampler,
        scheduler=scheduler,
        grace_period=default_grace_period(max_epochs),
        gpus_per_trial=0.0,
        max_concurrent=min(slots, num_trials),
    )


def measure(num_trials: int, slots: int, sampler: str, scheduler: str) -> Size:
    """One size, in a process of its own."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="dermtune scale ") as scratch:

        def run(name: str, trials: int, most: int, meter: Meter, found: Size) -> None:
            plan = plan_of(name, trials, most, sampler, scheduler)
            folder = SearchFolder(Path(scratch), name)
            with folder.create(plan):
                drive(plan, folder, meter, found)

        run("warm-up", 30, 4, Meter(), Size(30))  # imports and caches are no trial's
        gc.collect()
        with suppress(OSError):  # the peak of the warm-up is forgotten where the system allows it
            Path("/proc/self/clear_refs").write_text("5")
        say(f"--- {num_trials} trials")
        found, meter, begun = Size(num_trials, before=memory_mib("VmRSS")), Meter(), time.monotonic()
        run("scale", num_trials, slots, meter, found)
        found.wall_s, found.end = time.monotonic() - begun, memory_mib("VmHWM")
        meter.driver_s  # noqa: B018 - closes the part at hand
        found.seconds = dict(meter.seconds)
    return found


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def show(size: Size) -> str:
    """A size in a line, as wide as the heads of `HEADS`."""
    parts = [size.ms(), *(size.ms(part) for part in PARTS), size.ms(END)]
    cells = [
        str(size.trials),
        f"{size.epochs / size.trials:.1f}",
        *(f"{value:.2f}" for value in parts),
        *(f"{value:.0f}" for value in (size.before, size.peak, size.end)),
        f"{size.kib:.1f}",
        f"{size.wall_s:.0f}",
    ]
    return "".join(cell.rjust(len(head) + 2) for cell, head in zip(cells, HEADS, strict=True))


def main() -> int:
    """Runs every size; the ratio last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, default=1000, help="trials at once")
    parser.add_argument("--trials", type=int, nargs="+", default=[1000, 2000, 5000, 10_000], metavar="N")
    parser.add_argument("--sampler", choices=list(SAMPLERS), default="tpe")
    parser.add_argument("--scheduler", choices=list(SCHEDULERS), default="asha")
    options = parser.parse_args()
    sizes = sorted(set(options.trials))
    print(
        f"{options.slots} slots, {options.sampler}, {options.scheduler}; Python {platform.python_version()}, Optuna"
        f" {optuna.__version__}, {platform.machine()}; processor milliseconds of the driver a trial",
        flush=True,
    )
    # A process of its own for each size: its peak is its own.
    print("parts: " + "; ".join(f"{part}: {what}" for part, what in PARTS.items()))
    print("".join(head.rjust(len(head) + 2) for head in HEADS), flush=True)
    found = []
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        for size in sizes:
            found.append(pool.submit(measure, size, options.slots, options.sampler, options.scheduler).result())
            print(show(found[-1]), flush=True)
    least, most = found[0], found[-1]
    print(f"{most.trials} trials by tenths, ms a trial: " + " ".join(f"{value:.2f}" for value in most.tenths))
    for name, parts in (("model", [MODEL]), ("all but it", [part for part in PARTS if part != MODEL])):
        at = [f"{size.ms(*parts):.2f}" for size in found]
        print(f"sampler's {name}: {', '.join(at)} ms a trial; {most.ms(*parts) / max(least.ms(*parts), 1e-9):.2f} times")
    epochs = [size.ms(*(part for part in PARTS if part != MODEL)) * size.trials / max(size.epochs, 1) for size in found]
    ms = ", ".join(f"{value:.2f}" for value in epochs)
    print(f"all but the model: {ms} ms an epoch; {epochs[-1] / max(epochs[0], 1e-9):.2f} times")
    kib = ", ".join(f"{size.kib:.1f}" for size in found)
    print(f"memory: {kib} KiB a trial; {most.kib / max(least.kib, 0.1):.2f} times")
    ratio = most.ms() / least.ms()
    flat = "flat" if ratio <= BAR else "NOT FLAT"
    print(f"{flat} (at most {BAR}): CPU of a trial at {most.trials} over that at {least.trials}, ratio: {ratio:.2f}")
    return 0 if ratio <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
