"""Signals that end a command as Ctrl-C does, in processes of their own: what they meet must not be pytest's threads."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.execution.interruption import LIKE_CTRL_C

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Signals are as in a terminal, though the tests run under `nohup` or in the background, where some are ignored."""
    usual = {signal.SIGINT: signal.default_int_handler, **dict.fromkeys(LIKE_CTRL_C, signal.SIG_DFL)}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


_WAITS = """
import os, signal, sys, time
from search.execution.interruption import signals_like_ctrl_c
{before}
try:
    with signals_like_ctrl_c():
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)  # as Ray and Tune take handlers away
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        {sent}
        signal.sigtimedwait((), {seconds})
except KeyboardInterrupt:
    print("interrupted")
print("end")
"""
#: Strikes when the commands begin to be imported, at always the same place.
_IMPORTS = """
import os, sys
class Striker:
    def find_spec(self, name, path=None, target=None):
        if name == "search.cli.commands":
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Striker())
from search.cli.main import main
main(["list"])
"""
_CHILD = """
import os, signal, subprocess, sys
from search.execution.interruption import signals_like_ctrl_c, starting_others, take_signals
look = "import os; from signal import *; print(*sorted(map(int, pthread_sigmask(0, ()))), os.getpgid(0) == os.getpid())"
def start(before):
    subprocess.run([sys.executable, "-S", "-c", look], preexec_fn=before)
with signals_like_ctrl_c():
    with starting_others():
        start(lambda: None)
    start(lambda: None)  # as a library does that forks
    subprocess.run([sys.executable, "-S", "-c", look])
    start(take_signals)
start(lambda: None)
"""


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("number", LIKE_CTRL_C)
def test_a_signal_does_what_ctrl_c_does_whoever_has_taken_its_handler(number: signal.Signals) -> None:
    done = run(_WAITS.format(before="", sent=f"os.kill(os.getpid(), {int(number)})", seconds=5))
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\nend\n", "")


def test_a_signal_that_is_ignored_stays_so_as_nohup_has_it() -> None:
    ignored = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    done = run(_WAITS.format(before=ignored, sent="os.kill(os.getpid(), signal.SIGHUP)", seconds=0.1))
    assert (done.returncode, done.stdout) == (0, "end\n")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_background_job_of_a_script_which_ignores_ctrl_c_is_interrupted_by_all_of_them(name: str) -> None:
    """The others arrive as SIGINT, so that it is the one that does not stay ignored."""
    ignored = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
    done = run(_WAITS.format(before=ignored, sent=f"os.kill(os.getpid(), signal.{name})", seconds=5))
    assert (done.returncode, done.stdout) == (0, "interrupted\nend\n")


_TWICE = """
import os, signal, time
from search.execution import interruption
from search.execution.interruption import signals_like_ctrl_c
interruption.ONE_EVENT_S, heard = 0.1, []
with signals_like_ctrl_c():
    signal.signal(signal.SIGINT, lambda *_: heard.append(1))
    begun = time.monotonic()
    while time.monotonic() < begun + {seconds}:
        os.kill(os.getpid(), signal.{name})
        signal.sigtimedwait((), {every})
print(len(heard))
"""


@pytest.mark.parametrize(
    ("name", "seconds", "every", "heard"),
    [
        ("SIGHUP", 0.05, 0.04, 1),  # a shell and the kernel tell of one closed terminal
        ("SIGTERM", 0.25, 0.2, 2),
        ("SIGXCPU", 0.25, 0.2, 1),  # the kernel sends it each second
    ],
)
def test_a_second_signal_is_a_second_ctrl_c_unless_both_tell_of_one_event(
    name: str, seconds: float, every: float, heard: int
) -> None:
    done = run(_TWICE.format(name=name, seconds=seconds, every=every))
    assert (done.stdout, done.stderr) == (f"{heard}\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, *LIKE_CTRL_C])
def test_a_signal_before_the_commands_are_imported_ends_with_one_line(number: signal.Signals) -> None:
    done = run(_IMPORTS.format(number=int(number)))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_rays_processes_are_out_of_a_terminals_reach_and_others_take_every_signal() -> None:
    """Ray's can be ended by SIGTERM; what starts without a `preexec_fn` has blocked what is, since nothing of ours runs in it."""
    done = run(_CHILD)
    left = " ".join(map(str, sorted(int(number) for number in LIKE_CTRL_C if number != signal.SIGTERM)))
    every = " ".join(map(str, sorted(map(int, LIKE_CTRL_C))))
    assert done.stdout.splitlines() == [f"{left} True", "False", f"{every} False", "False", "False"], done.stderr
