"""What a search that can be trusted must show (issue 3)."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
from shown import DERMTUNE, REPOSITORY, Shown, dermtune, tests
from waiting import wait_until

ISSUE = 3
#: Beyond noise: so many standard errors.
BEYOND = 2.0


def efficiency(folder: Path) -> list[Shown]:
    """Ours against random search, Optuna and Ray Tune as they come, in simulated time."""
    command = ["benchmarks/search_efficiency.py", "--plot", str(folder / "regret.png")]
    start = time.monotonic()
    done = subprocess.run([sys.executable, *command], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    seconds, text = time.monotonic() - start, done.stdout
    needed = int(re.search(r"evaluations to random's regret .*?: ours (\d+)", text)[1])
    gap = float(re.search(r"against the best other .*: ([+-][\d.]+) standard errors", text)[1])
    finals = re.search(r"mean of the four: (.*)", text)[1]
    rows = re.findall(
        r"^(MFHartmann .*): ours / random \+ ASHA ([\d.]+) \(([+-][\d.]+).*?; ours / Ray .*? ([\d.]+) \(", text, re.M
    )
    ratio = float(text.rsplit("ratio: ", 1)[1])
    by_cost = re.search(r"random \+ ASHA by cost: (.*)", text)[1]
    told = f"python {command[0]}"
    against_random = "; ".join(f"{name} {value} ({errors} s.e.)" for name, value, errors, _ in rows)
    against_ray = "; ".join(f"{name} {value}" for name, *_, value in rows)
    return [
        Shown(ISSUE, "search efficiency, one run, at most 10 min on two cores", told, f"{seconds:.0f} s", seconds <= 600),
        Shown(ISSUE, "FCNet, 8 workers: evaluations to random's regret after 100, at most 50", told, str(needed), needed <= 50),
        Shown(
            ISSUE,
            "FCNet: final regret no worse than the best of the others beyond noise",
            told,
            f"{finals}; {gap:+.1f} standard errors",
            gap <= BEYOND,
        ),
        Shown(
            ISSUE,
            "MFHartmann: never worse than random + ASHA beyond noise",
            told,
            against_random,
            len(rows) == 4 and all(float(errors) <= BEYOND for _, _, errors, _ in rows),
        ),
        Shown(
            ISSUE,
            "MFHartmann: better than Ray's OptunaSearch + ASHA on all four",
            told,
            against_ray,
            len(rows) == 4 and all(float(value) < 1 for *_, value in rows),
        ),
        Shown(
            ISSUE,
            "MFHartmann: mean of our final regret over random + ASHA's, at most 0.85",
            told,
            f"{ratio:.2f}; by cost in whole trials: {by_cost}",
            ratio <= 0.85,
        ),
    ]


def kills(folder: Path) -> list[Shown]:
    """Ten drivers killed at random moments, each resumed."""
    command = ["-m", "pytest", "-q", "-m", "slow", "--timeout", "600", "tests/end_to_end/test_resumption.py", "-k", "killed"]
    environment = {**os.environ, "DERMTUNE_TEST_KILLS": "10"}
    done = subprocess.run([sys.executable, *command], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    figure = done.stdout.strip().splitlines()[-1].strip("= ")
    what = "driver killed with kill -9 at a random moment, ten times, resumed: every trial ended once, doctor finds nothing"
    told = "DERMTUNE_TEST_KILLS=10 pytest -m slow tests/end_to_end/test_resumption.py -k killed"
    return [Shown(ISSUE, what, told, figure, done.returncode == 0 and "10 passed" in figure)]


def confirmation(folder: Path) -> list[Shown]:
    """The winner of the synthetic gated search on fresh seeds."""
    dermtune(folder, "search", "gated", "--name", "demo")
    found, seconds = dermtune(folder, "confirm", "demo", "--top", "5", "--seeds", "3")
    winner = next(standing for standing in found["standings"] if standing["trial"] == found["winner"])
    low, high = winner["interval"]
    figure = (
        f"{found['sentence']} {winner['mean']:.3f} [{low:.3f}, {high:.3f}]; the search's best did {found['curse']:.3f} worse than"
        f" claimed; {found['test_note'].split(' of ')[0]} of the test split; {seconds:.0f} s"
    )
    pages = [Path(found["report"]), Path(found["report"]).with_suffix(".md")]
    met = all(page.is_file() for page in pages) and low < winner["mean"] < high and bool(found["test_metrics"])
    return [
        Shown(
            ISSUE,
            "`confirm` on the synthetic gated search, K = 5, S = 3: report with intervals",
            "dermtune search gated --name demo; dermtune confirm demo --top 5 --seeds 3",
            figure,
            met,
        )
    ]


def replayed(folder: Path) -> list[Shown]:
    """Four strategies on forty recorded curves."""
    dermtune(folder, "search", "bowl", "--name", "forty", "--trials", "40", "--max-epochs", "27", "--scheduler", "none")
    choices = ("--sampler", "tpe", "--sampler", "random", "--scheduler", "asha", "--scheduler", "none", "--grace-period", "3")
    found, seconds = dermtune(folder, "replay", "forty", *choices)
    halves = "; ".join(f"{s['sampler']} + {s['scheduler']} {s['regret_half']:.3f}" for s in found["strategies"])
    met = seconds < 30 and Path(found["plot"]).is_file() and len(found["strategies"]) == 4
    what = "`replay` of a recorded 40-trial search under four strategies, ten seeds each, under 30 s, with its plot"
    return [Shown(ISSUE, what, "dermtune replay forty ...", f"{seconds:.1f} s; regret at half time: {halves}", met)]


def thousand(folder: Path) -> list[Shown]:
    """A thousand trials of the bowl, with MLflow."""
    command = [str(DERMTUNE), "search", "bowl", "--name", "thousand", "--trials", "1000", "--json"]
    ledger, memory, start = folder / "runs" / "thousand" / "ledger.jsonl", {}, time.monotonic()
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=err)
        driver = psutil.Process(process.pid)

        def has_ended() -> bool:
            ended = _ended(ledger) if ledger.is_file() else 0
            for mark in (100, 1000):
                if ended >= mark and mark not in memory and process.poll() is None:
                    memory[mark] = driver.memory_info().rss / 2**20
            return process.poll() is not None

        wait_until(has_ended, "the end of a search of 1000 trials", patience_s=600, every_s=1)
    wall_s = time.monotonic() - start
    times = [event["elapsed_s"] for event in _events(ledger) if event["event"] in ("finished", "stopped", "failed")]
    # A hundred trials each: from the 50th to the 150th, and the last hundred.
    early, late = (times[149] - times[49]) / 100, (times[999] - times[899]) / 100
    examined, _ = dermtune(folder, "doctor", "thousand")
    told = "dermtune search bowl --name thousand --trials 1000; dermtune doctor thousand"
    return [
        Shown(
            ISSUE,
            "1000 trials of `bowl` with MLflow: time per trial at 1000 at most 1.3 times that at 100",
            told,
            f"{wall_s:.0f} s; {1000 * early:.0f} ms and {1000 * late:.0f} ms a trial, ratio {late / early:.2f}; driver"
            f" {memory.get(100, 0):.0f} MiB at 100, {memory.get(1000, 0):.0f} MiB at 1000 trials",
            late / early <= 1.3 and len(times) == 1000,
        ),
        Shown(
            ISSUE,
            "`doctor` on those 1000 trials: no difference",
            told,
            f"{len(examined['differences'])} differences",
            not examined["differences"],
        ),
    ]


def _events(ledger: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in ledger.read_bytes().split(b"\n")[:-1]]


def _ended(ledger: Path) -> int:
    text = ledger.read_bytes()
    return sum(text.count(f'"event": "{kind}"'.encode()) for kind in ("finished", "stopped", "failed"))


SHOWS = {
    "efficiency": efficiency,
    "kills": kills,
    "confirmation": confirmation,
    "noise": tests(
        ISSUE,
        "on pure noise `confirm` says that no configuration is better than another",
        *("-m", "slow", "tests/end_to_end/test_asking.py", "-k", "noise"),
    ),
    "folds": tests(
        ISSUE,
        "`confirm` on cases and on folds: intervals, the test split read once, its reading counted",
        *("-m", "slow", "tests/end_to_end/test_asking.py", "-k", "folds"),
    ),
    "replay": replayed,
    "thousand": thousand,
    "scheduling": tests(
        ISSUE,
        "rung tables by hand; decisions never depend on what came later; the same seed gives the same decisions",
        "tests/search/test_rungs_schedulers.py",
        "tests/search/test_schedulers_promoting.py",
        "tests/search/test_rung_sampler.py",
    ),
}
