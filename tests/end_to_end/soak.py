"""Searches one after another with a fault every few seconds: `python tests/end_to_end/soak.py --minutes 60`.

Each search must come to its end however often it is struck, `doctor` must find it whole, and nothing may pile up: no process, no
memory, no file. Ends by itself; the last line says what was seen.
"""

import argparse
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

COMMAND = Path(sys.executable).parent / "dermtune"
#: A search that has not ended by then hangs.
_ENDS_WITHIN_S = 420.0
_LOCKED_S, _STOPPED_S = 6.0, 4.0
_LEAST_REPORTS = 8
#: Ray's agents try for a minute to tell a driver that was killed.
_GONE_WITHIN_S = 120.0
#: A few seconds an epoch of nothing; and a network that trains.
_BOWL = ("bowl", "--trials", "12", "--max-epochs", "12", "--set", "seconds_per_epoch=0.4", "--save-every", "1s")
_GATED = ("gated", "--trials", "6", "--max-epochs", "6", "--set", "size_px=96", "--set", "width=0.5", "--save-every", "1s")


@dataclass
class Seen:
    """What a soak has seen.

    Args:    searches: that ended and were found whole.
             faults: kind → times.
             peaks_mib: largest memory of a search's driver, by task, in order.
             left_processes: that outlived their search.
             disk_mib: of the storage after each search was deleted.
    """

    searches: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    peaks_mib: dict[str, list[float]] = field(default_factory=dict)
    left_processes: list[str] = field(default_factory=list)
    disk_mib: list[float] = field(default_factory=list)

    def growth(self, task: str) -> float:
        """Memory of the last third of a task's searches over that of the first."""
        peaks = self.peaks_mib.get(task, [])
        third = max(1, len(peaks) // 3)
        return sum(peaks[-third:]) / sum(peaks[:third]) if peaks else 1.0


class Soak:
    """One folder in which searches run and are struck.

    Args:    folder: empty.
             fault_every_s: seconds between two faults.
             seed: of what is struck.
    """

    def __init__(self, folder: Path, fault_every_s: float, seed: int) -> None:
        self._folder, self._every_s, self._random, self.seen = folder, fault_every_s, random.Random(seed), Seen()
        self._reported, self._family = 0, list[psutil.Process]()
        self._store, self._log = folder / "runs" / "mlflow.db", folder / "search.log"
        self._faults: list[Callable[[psutil.Process], bool]] = [
            self._kill_a_trial,
            self._stop_a_trial,
            self._kill_the_driver,
            self._interrupt,
            self._cut_a_state_short,
            self._lock_the_store,
        ]

    def run(self, duration_s: float) -> Seen:
        """Searches until the time is up; the one that is running then comes to its end.

        Raises:  AssertionError: when a search does not end well, or is not whole.
        """
        end, number = time.monotonic() + duration_s, 0
        while time.monotonic() < end or number < 2:
            options = _GATED if number % 3 == 2 else _BOWL
            self._search(f"soak-{number}", options)
            number += 1
        _, alive = psutil.wait_procs(self._family, timeout=_GONE_WITHIN_S)
        self.seen.left_processes = [" ".join(process.cmdline()) for process in alive]
        for process in alive:
            process.kill()
        return self.seen

    def _search(self, name: str, options: tuple[str, ...]) -> None:
        command, end = ("search", *options, "--name", name, "--no-pictures"), time.monotonic() + _ENDS_WITHIN_S
        while True:
            with self._started(*command) as process:
                self._strike_until_it_ends(psutil.Process(process.pid), options[0], end)
                process.wait()
            if process.returncode == 0:
                break
            assert process.returncode in (130, -signal.SIGKILL), (
                f"{name} ended with {process.returncode}: {self._log.read_text()[-2000:]}"
            )
            assert time.monotonic() < end, f"{name} must end within {_ENDS_WITHIN_S:g} s"
            begun = (self._folder / "runs" / name / "ledger.jsonl").is_file()
            command = ("resume", name, "--no-pictures") if begun else ("search", *options, "--name", name, "--no-pictures")
        self._ask("doctor", name)
        self._ask("delete", name, "--yes")
        self.seen.searches += 1
        files = [file for file in self._folder.rglob("*") if file.is_file()]
        self.seen.disk_mib.append(sum(file.stat().st_size for file in files) / 2**20)

    def _strike_until_it_ends(self, driver: psutil.Process, task: str, end: float) -> None:
        peak, family, due = 0.0, dict[int, psutil.Process](), time.monotonic() + self._every_s * self._random.uniform(0.3, 1)
        while driver.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < end, f"a search of {task} must end within {_ENDS_WITHIN_S:g} s"
            with suppress(psutil.NoSuchProcess):
                peak = max(peak, driver.memory_info().rss / 2**20)
                family |= {child.pid: child for child in driver.children(recursive=True)}
            if time.monotonic() > due:
                fault = self._random.choice(self._faults)
                with suppress(psutil.NoSuchProcess):
                    if fault(driver):
                        self.seen.faults[fault.__name__.strip("_")] += 1
                        due = time.monotonic() + self._every_s
            time.sleep(0.2)
        self.seen.peaks_mib.setdefault(task, []).append(peak)
        self._family += family.values()

    def _trials(self, driver: psutil.Process) -> list[psutil.Process]:
        found = driver.children(recursive=True)
        return [child for child in found if child.cmdline()[:1] and child.cmdline()[0].startswith("ray::TrialWorker")]

    def _kill_a_trial(self, driver: psutil.Process) -> bool:
        return self._signal_a_trial(driver, signal.SIGKILL)

    def _stop_a_trial(self, driver: psutil.Process) -> bool:
        """It hears nothing for a while, as on a machine that swaps."""
        trials = self._trials(driver)
        if not trials:
            return False
        trial = self._random.choice(trials)
        trial.suspend()
        threading.Timer(_STOPPED_S, _resume, (trial,)).start()
        return True

    def _signal_a_trial(self, driver: psutil.Process, number: signal.Signals) -> bool:
        trials = self._trials(driver)
        if trials:
            self._random.choice(trials).send_signal(number)
        return bool(trials)

    def _kill_the_driver(self, driver: psutil.Process) -> bool:
        if not self._has_gone_on():
            return False
        driver.kill()
        return True

    def _interrupt(self, driver: psutil.Process) -> bool:
        if not self._trials(driver) or not self._has_gone_on():
            return False  # before the search has begun there is nothing to save
        driver.send_signal(signal.SIGINT)
        time.sleep(self._every_s / 2)  # a second signal would end it at once
        return True

    def _has_gone_on(self) -> bool:
        """Whether something was reported since this was last true: whoever is struck before it moves never arrives."""
        ledgers = list(self._folder.glob("runs/soak-*/ledger.jsonl"))
        reported = sum(ledger.read_bytes().count(b'"event": "reported"') for ledger in ledgers)
        moved = reported >= self._reported + _LEAST_REPORTS
        if moved:
            self._reported = reported
        elif reported < self._reported:  # another search
            self._reported = 0
        return moved

    def _cut_a_state_short(self, driver: psutil.Process) -> bool:
        states = list(self._folder.glob("runs/soak-*/trials/*/state-*/state.*"))
        if not states:
            return False
        with suppress(FileNotFoundError):
            file = self._random.choice(states)
            os.truncate(file, file.stat().st_size // 2)
        return True

    def _lock_the_store(self, driver: psutil.Process) -> bool:
        if not self._store.is_file():
            return False
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(self._store, timeout=2, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            time.sleep(_LOCKED_S)
            other.execute("ROLLBACK")
        return True

    @contextmanager
    def _started(self, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        with self._log.open("w") as log:
            process = subprocess.Popen(
                [str(COMMAND), *arguments], cwd=self._folder, text=True, stdout=log, stderr=log, start_new_session=True
            )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _ask(self, *arguments: str) -> None:
        done = subprocess.run(
            [str(COMMAND), *arguments], cwd=self._folder, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"dermtune {' '.join(arguments)}: {done.stdout}{done.stderr}"


def _resume(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.resume()


def main() -> int:
    """Soaks for as long as asked and says what was seen."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--fault-every", type=float, default=20.0, metavar="S")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dermtune soak ") as folder:
        seen = Soak(Path(folder), asked.fault_every, asked.seed).run(60 * asked.minutes)
    for task, peaks in seen.peaks_mib.items():
        print(f"{task}: driver's peak memory {', '.join(f'{peak:.0f}' for peak in peaks)} MiB, growth {seen.growth(task):.2f}")
    print(f"storage after each search was deleted: {', '.join(f'{size:.1f}' for size in seen.disk_mib)} MiB")
    print(f"faults: {dict(seen.faults)}; processes left: {len(seen.left_processes)}")
    whole = not seen.left_processes and all(seen.growth(task) < 1.15 for task in seen.peaks_mib)
    print(f"{'met' if whole else 'MISSED'}: {seen.searches} searches, {sum(seen.faults.values())} faults, all ended and whole")
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
