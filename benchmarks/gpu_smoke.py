"""Does training work on this GPU, how fast is it, and how many trials does one hold? What to run first on a machine with one.

One trial of each network at the demo's size, with --paper also at the papers', on synthetic cases: two epochs on the device,
saved, loaded and gone on with; and an epoch held against the CPU's, without augmentation and dropout, whose random numbers each
device draws for itself: once without learning, where the two must agree closely, and once with it, where rounding alone moves
the loss by some percent. Each runs in a process of its own, as a search's trials do. Needs no Ray, Optuna or MLflow.

    python benchmarks/gpu_smoke.py [--paper] [--device cuda:1] [--cases N] [--cpu-s 60]
    python benchmarks/gpu_smoke.py --device cpu [--threads 1]

An epoch that would take the CPU longer than --cpu-s is only estimated there, and nothing is held against it. Exits 1 when
something is wrong, with a line that says what to do. The last line is what the CPU takes over what the GPU takes.
"""

import argparse
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from search.strategy.packing import SAFETY_MARGIN, packed_share
from spaces.fields import Value, complete
from spaces.presets import Preset
from trainables.contract import GPU_CONTEXT_MIB, Trial, TrialRequest
from trainables.data import DATASETS
from trainables.errors import TrialDiverged
from trainables.folders import digest
from trainables.tasks import TASKS

EPOCHS = 2
#: How far losses may differ, as a share: of the same epoch done twice on a GPU; on a GPU and on the CPU, with and without
#: learning. TF32's rounding, imitated on a CPU, moved them by 0.03 with learning and by 0.00001 without.
TWICE, LEARNT, UNLEARNT = 0.1, 0.15, 0.002
LOSS = "valid/loss"
MIB = 2**20
#: What is fixed beside the presets: nothing is downloaded.
SETTINGS: Mapping[str, Mapping[str, Value]] = {"gated": {}, "attentive": {"encoder_weights": "none"}}
#: Without random numbers of the device's own.
QUIET: Mapping[str, Mapping[str, Value]] = {
    "gated": {"augmentation": 0.0, "dropout": 0.0},
    "attentive": {"augmentation": "none"},
}
STILL: Mapping[str, Mapping[str, Value]] = {
    "gated": {"learning_rate": 0.0},
    "attentive": {"branch_learning_rate": 0.0, "attention_learning_rate": 0.0},
}
_T = TypeVar("_T")


@dataclass(frozen=True)
class Case:
    """A trial to be tried.

    Args:    task: a key of `TASKS`.
             preset: "demo" or "paper".
             source: synthetic cases, `FORMAT:PATH`.
             num_cases: of them.
    """

    task: str
    preset: str
    source: str
    num_cases: int

    @property
    def name(self) -> str:
        """`gated, demo`."""
        return f"{self.task}, {self.preset}"

    def config(self, **changes: Value) -> dict[str, Value]:
        """The paper's configuration at this size."""
        task = TASKS[self.task]
        return {**complete(task.space, {**task.presets[self.preset].fixed, **SETTINGS[self.task]}), **changes}


@dataclass(frozen=True)
class Look:
    """How closely one looks.

    Args:    compare: whether a GPU and the CPU are to be compared.
             cpu_s: an epoch that takes the CPU longer is only estimated there.
             threads: of the CPU.
             others: MiB that other processes hold of the GPU.
    """

    compare: bool
    cpu_s: float
    threads: int
    others: float


@dataclass
class Found:
    """What was found of a case on a device.

    Args:    problem: what is wrong and what to do, None when nothing is.
             seconds: an epoch, after the first.
             estimated: whether that is from a few batches only.
             losses: `valid/loss` of each epoch.
             still, quiet: metrics of a first epoch without augmentation and dropout, without and with learning.
             reserved, context, total: MiB: at most by torch, by CUDA itself, of the GPU.
             equal: whether what was loaded is what was saved.
             twice: difference of the next epoch's loss, gone on with and gone on with after loading, as a share.
    """

    problem: str | None = None
    seconds: float = math.nan
    estimated: bool = False
    losses: list[float] = field(default_factory=list)
    still: dict[str, float] = field(default_factory=dict)
    quiet: dict[str, float] = field(default_factory=dict)
    reserved: float = 0.0
    context: float = 0.0
    total: float = 0.0
    equal: bool = True
    twice: float = 0.0

    @property
    def fits(self) -> int:
        """Such trials at once on one GPU, as `--gpus-per-trial auto` reckons."""
        return round(1 / packed_share(self.reserved, self.total)) if self.total else 0


def alone(call: Callable[..., _T], *arguments: Any) -> _T:
    """Calls it in a process of its own, which leaves nothing on the GPU."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(call, *arguments).result()


def measure(case: Case, device: str, scratch: Path, look: Look) -> Found:
    """Tries a case; whatever goes wrong is said in what is found."""
    found = Found()
    try:
        _measure(case, device, scratch, look, found)
    except Exception as error:  # noqa: BLE001 - whatever it is, the user is to be told, and the other cases tried
        found.problem = advice(error)
    return found


def _measure(case: Case, device: str, scratch: Path, look: Look, found: Found) -> None:
    on_gpu = device != "cpu"
    if not on_gpu:
        say(f"{case.name}, {device}: a few batches")
        found.seconds, found.estimated = build(case, device, look).rehearse().epoch_s, True
        if found.seconds > look.cpu_s:
            return
    say(f"{case.name}, {device}: {EPOCHS} epochs")
    trial = build(case, device, look)
    reports = [trial.step() for _ in range(EPOCHS)]
    found.seconds, found.estimated = min(report.seconds for report in reports[1:]), False
    found.losses = [report.metrics[LOSS] for report in reports]
    if on_gpu:
        free, total = torch.cuda.mem_get_info(torch.device(device))
        found.reserved = torch.cuda.max_memory_reserved(device) / MIB
        found.context = max((total - free - torch.cuda.memory_reserved(device)) / MIB - look.others, 0.0)
        found.total = total / MIB
    say(f"{case.name}, {device}: saved, loaded, gone on with")
    states = Path(tempfile.mkdtemp(dir=scratch))
    saved, again = states / "saved", states / "again"
    trial.save(saved)
    went_on = trial.step().metrics
    loaded = build(case, device, look)
    loaded.load(saved)
    loaded.save(again)
    found.equal = digest(saved) == digest(again)
    once_more = loaded.step().metrics
    found.twice = share(once_more[LOSS], went_on[LOSS])
    if look.compare:
        say(f"{case.name}, {device}: two epochs to be compared")
        found.still = dict(build(case, device, look, **QUIET[case.task], **STILL[case.task]).step().metrics)
        found.quiet = dict(build(case, device, look, **QUIET[case.task]).step().metrics)
    if not found.equal:
        found.problem = "a trial that was loaded is not the one that was saved: please report this, with the whole output"
    elif not on_gpu and once_more != went_on:
        found.problem = "after loading, the next epoch is not bit for bit the same: please report this, with the whole output"
    elif found.twice > TWICE:
        found.problem = (
            f"after loading, the next epoch's {LOSS} is {found.twice:.1%} away: run it again; if it stays, the GPU or its driver"
            " computes differently each time (nvidia-smi -q shows memory errors)"
        )


def build(case: Case, device: str, look: Look, **changes: Value) -> Trial:
    """The case's trial, by the trial contract."""
    task = TASKS[case.task]
    request = TrialRequest(
        task=case.task,
        config=case.config(**changes),
        source=case.source,
        seed=0,
        objective=task.objective,
        max_epochs=task.presets[case.preset].max_epochs,
        device="auto" if device == "cuda" else device,  # as a search's trials find it
        num_threads=look.threads if device == "cpu" else 1,
    )
    return task.load().build(request)


def advice(error: Exception) -> str:
    """What went wrong and what to do about it, in a line."""
    text = (str(error) or type(error).__name__).splitlines()[0]
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return f"the GPU's memory is full: see who holds it (nvidia-smi) and try again on a free GPU (--device cuda:1); {text}"
    if isinstance(error, TrialDiverged):
        return f"{text}: run it again with NVIDIA_TF32_OVERRIDE=0; if it stays, please report this, with the whole output"
    if "no kernel image" in text or "not compatible" in text:
        return f"this torch was not built for this GPU: install one that is (https://pytorch.org/get-started/locally); {text}"
    if isinstance(error, OSError):
        return f"{text}: is there room on the disk ({tempfile.gettempdir()}; TMPDIR= names another place)?"
    return f"{type(error).__name__}: {text} (if nvidia-smi is content, please report this, with the whole output)"


def share(one: float, other: float) -> float:
    """By what share of the other they differ."""
    return abs(one - other) / max(abs(other), 1e-12)


def gpu(device: str) -> dict[str, Any]:
    """What torch says of the GPU, and that a product comes out right there.

    Raises:  ValueError: when there is none of that name.
    """
    if not torch.cuda.is_available():
        raise ValueError(
            f"torch {torch.__version__} sees no GPU: `nvidia-smi` must list one, and torch must be a build for CUDA"
            " (https://pytorch.org/get-started/locally); --device cpu tries the CPU"
        )
    place = torch.device(device)
    if place.type != "cuda" or (place.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"--device must be cpu or one of cuda:0 to cuda:{torch.cuda.device_count() - 1}; got {device}")
    properties = torch.cuda.get_device_properties(place)
    found = torch.ones(256, 256, device=place) @ torch.ones(256, 256, device=place)
    if float(found.sum()) != 256.0**3:
        raise ValueError(f"a product of ones must be right on {device}; got {float(found.sum())} (is the GPU damaged?)")
    free, total = torch.cuda.mem_get_info(place)
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return {
        "uuid": f"GPU-{properties.uuid}",
        "rows": {
            "GPU": f"{torch.cuda.get_device_name(place)}, compute capability {properties.major}.{properties.minor}",
            "memory": f"{total / 2**30:.1f} GiB, {free / 2**30:.1f} free",
            "CUDA": f"torch is built for {torch.version.cuda}; cuDNN {cudnn}",
            "TF32": "in convolutions" if torch.backends.cudnn.allow_tf32 else "off",
        },
    }


def driver(uuid: str) -> tuple[str, float]:
    """NVIDIA's driver, "" where it does not tell, and the MiB that other processes hold of the GPU."""
    command = ["nvidia-smi", "--id", uuid, "--query-gpu=driver_version,memory.used", "--format=csv,noheader,nounits"]
    if shutil.which(command[0]) is None:
        return "", 0.0
    answer = subprocess.run(command, capture_output=True, text=True)
    version, _, used = answer.stdout.strip().partition(",")
    try:
        return version, float(used)
    except ValueError:  # a part of a GPU has no figures of its own
        return version if answer.returncode == 0 else "", 0.0


def cases_of(preset_name: str, cache: Path, num_cases: int | None) -> list[Case]:
    """Both tasks at a size, their synthetic cases drawn."""
    found = []
    for name in SETTINGS:
        task = TASKS[name]
        preset: Preset = task.presets[preset_name]
        count, size_px = num_cases or preset.synthetic_cases, preset.synthetic_size_px
        folder, synthesise = cache / f"{task.synthetic}-{count}x{size_px}", DATASETS[str(task.synthetic)].synthesise
        if synthesise is None:
            raise ValueError(f"a task must have synthetic cases; got {name}")
        say(f"{name}, {preset_name}: drawing {count} cases of {size_px} px")
        synthesise(folder, count, size_px, 0)
        found.append(Case(name, preset_name, f"{task.synthetic}:{folder}", count))
    return found


def furthest(one: Mapping[str, float], other: Mapping[str, float]) -> str:
    """The metric, losses apart, that differs most, and by how much."""
    apart = {name: abs(one[name] - value) for name, value in other.items() if name in one and not name.endswith("/loss")}
    name = max(apart, key=apart.__getitem__)
    return f"{apart[name]:.3f} {name.removeprefix('valid/')}"


def rows(case: Case, here: Found, cpu: Found | None) -> dict[str, str]:
    """What was found of a case, in words."""
    config = case.config()
    table = {
        "": case.name,
        "images": f"{case.num_cases} of {config['size_px']} px",
        "seconds an epoch": "-" if math.isnan(here.seconds) else f"{here.seconds:.2f}{' (estimated)' * here.estimated}",
        f"{LOSS} by epoch": " ".join(f"{loss:.4f}" for loss in here.losses) or "-",
        "loaded state": "-" if not here.losses else "equal" if here.equal else "NOT EQUAL",
        "next epoch's loss, twice": f"{here.twice:.1e} apart" if here.losses else "-",
    }
    if here.total:
        table["peak reserved by torch"] = f"{here.reserved:.0f} MiB"
        table["CUDA itself"] = f"{here.context:.0f} MiB"
        table["trials on this GPU"] = f"{here.fits}"
    if cpu is not None:
        table["the CPU's seconds"] = f"{cpu.seconds:.2f}{' (estimated)' * cpu.estimated}"
        table["CPU over GPU"] = f"{cpu.seconds / here.seconds:.1f}"
        if cpu.quiet and here.quiet:
            table["an epoch without learning: loss"] = f"{share(here.still[LOSS], cpu.still[LOSS]):.1e} apart"
            table["furthest metric"] = furthest(here.still, cpu.still)
            table["an epoch: loss"] = f"{share(here.quiet[LOSS], cpu.quiet[LOSS]):.1e} apart"
            table["furthest metric there"] = furthest(here.quiet, cpu.quiet)
    return table


def show(columns: Sequence[Mapping[str, str]]) -> None:
    """A column a case."""
    heads = list(dict.fromkeys(head for column in columns for head in column))
    widths = [max(len(column.get(head, "-")) for head in heads) for column in columns]
    first = max(map(len, heads))
    for head in heads:
        cells = (column.get(head, "-").rjust(width) for column, width in zip(columns, widths, strict=True))
        print(f"{head.ljust(first)}  {'  '.join(cells)}".rstrip())


def say(text: str) -> None:
    """Progress."""
    print(f"{time.strftime('%T')} {text}", file=sys.stderr, flush=True)


def attempt(case: Case, device: str, scratch: Path, look: Look) -> Found:
    """`measure` in a process of its own, which may die."""
    try:
        return alone(measure, case, device, scratch, look)
    except BrokenProcessPool:
        return Found(problem=f"its process died on {device}: is there memory enough (free -h), and what does `dmesg` say?")


def problems_of(case: Case, here: Found, cpu: Found | None) -> list[str]:
    """What is wrong, a line each."""
    found = [f"{case.name}: {one.problem}" for one in (here, cpu) if one is not None and one.problem is not None]
    if cpu is not None and cpu.quiet and here.quiet:
        gaps = share(here.still[LOSS], cpu.still[LOSS]), share(here.quiet[LOSS], cpu.quiet[LOSS])
        if gaps[0] > UNLEARNT or gaps[1] > LEARNT:
            found.append(
                f"{case.name}: {LOSS} differs from the CPU's by {gaps[0]:.1%} without learning and {gaps[1]:.1%} with it: run it"
                " again with NVIDIA_TF32_OVERRIDE=0; if it stays, please report this, with the whole output"
            )
    taken = here.reserved + here.context
    if here.total and here.problem is None and here.fits * taken > here.total:
        fitting = max(int(here.total / (SAFETY_MARGIN * taken)), 1)
        found.append(
            f"{case.name}: {here.fits} such trials, as auto reckons, would take {here.fits * taken:.0f} of this GPU's"
            f" {here.total:.0f} MiB: search with --gpus-per-trial {1 / fitting:.3g}, or lower batch_size"
        )
    return found


def main() -> int:
    """Tries everything, prints a table, the ratio last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 ..., or cpu")
    parser.add_argument("--paper", action="store_true", help="also at the papers' sizes")
    parser.add_argument("--cases", type=int, help="synthetic cases, instead of the presets' own (30 or more)")
    parser.add_argument("--cpu-s", type=float, default=60.0, help="an epoch that takes the CPU longer is only estimated there")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of the CPU")
    options = parser.parse_args()
    on_gpu, others = options.device != "cpu", 0.0
    machine = {"torch": f"{torch.__version__}, Python {platform.python_version()}, {options.threads} threads"}
    if on_gpu:
        try:
            looked = alone(gpu, options.device)
        except Exception as error:  # noqa: BLE001 - torch raises whatever the driver says
            reason = str(error) if isinstance(error, ValueError) else advice(error)
            print(f"WRONG: {reason}")
            return 1
        version, others = driver(looked["uuid"])
        machine |= {**looked["rows"], "driver": f"{version or 'unknown'}; other processes hold {others:.0f} MiB"}
    for name, text in machine.items():
        print(f"{name}: {text}", flush=True)
    if not on_gpu:
        print("no GPU is tried here: this is the CPU alone", flush=True)
    look = Look(on_gpu, options.cpu_s, options.threads, others)
    tried: list[tuple[Case, Found, Found | None]] = []
    with tempfile.TemporaryDirectory(prefix="dermtune gpu ") as scratch:
        os.environ["DERMTUNE_CACHE"] = str(Path(scratch) / "cache")
        for preset in ("demo", "paper") if options.paper else ("demo",):
            for case in cases_of(preset, Path(scratch) / "cases", options.cases):
                here = attempt(case, options.device, Path(scratch), look)
                cpu = attempt(case, "cpu", Path(scratch), look) if on_gpu and here.problem is None else None
                tried.append((case, here, cpu))
    show([rows(case, here, cpu) for case, here, cpu in tried])
    if on_gpu:
        print(
            f"trials on a GPU as --gpus-per-trial auto reckons: peak x {SAFETY_MARGIN} + {GPU_CONTEXT_MIB:.0f} MiB each; a search"
            " measures its own first trial"
        )
    wrong = [line for one in tried for line in problems_of(*one)]
    for line in wrong:
        print(f"WRONG: {line}")
    ratios = [cpu.seconds / here.seconds for _, here, cpu in tried if cpu is not None and not math.isnan(cpu.seconds)]
    ratio = math.exp(math.fsum(map(math.log, ratios)) / len(ratios)) if ratios else 1.0
    what = "seconds of an epoch, CPU over GPU" if ratios else "the CPU over itself"
    print(f"{'something is WRONG' if wrong else 'all is well'}; {what}, ratio: {ratio:.2f}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
