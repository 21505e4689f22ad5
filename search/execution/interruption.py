"""Signals that end a command as Ctrl-C does, from its first line on."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

#: From a closed terminal, Ctrl-\, supervisors (and `timeout`, and batch systems), and limits of a batch system.
LIKE_CTRL_C = (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGXCPU)
#: A shell, the kernel and `timeout` tell of one event twice: what follows within this time is no second request.
ONE_EVENT_S = 1.0

_blocked = frozenset[signal.Signals]()
_starting_others = False


@contextmanager
def signals_like_ctrl_c() -> Iterator[None]:
    """Lets each of `LIKE_CTRL_C` do what Ctrl-C does, whoever installs handlers meanwhile.

    They are blocked in every thread that begins from here on, and a thread of its own waits for them and sends SIGINT: Ray's
    core worker takes SIGTERM's handler in the middle of its start and prints a C++ stack trace, and Tune takes SIGUSR1's.
    Signals that are ignored, as `nohup` has it, stay so; SIGINT does not, since the others arrive as it. In another thread
    than the main one, or within another such context, nothing happens.
    """
    global _blocked
    taken = frozenset(number for number in LIKE_CTRL_C if signal.getsignal(number) is not signal.SIG_IGN)
    if _blocked or not taken or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:  # of a script's background job: what asks it to end must find somebody
        signal.signal(signal.SIGINT, signal.default_int_handler)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, taken)
    _blocked, over = taken, threading.Event()
    waiting = threading.Thread(target=_forward, args=(taken, threading.get_ident(), over), name="signals", daemon=True)
    waiting.start()
    try:
        yield
    finally:
        over.set()
        signal.pthread_kill(waiting.ident or 0, next(iter(taken)))
        waiting.join()
        _blocked = frozenset()
        if before is not None:
            signal.signal(signal.SIGINT, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _forward(taken: frozenset[signal.Signals], main: int, over: threading.Event) -> None:
    last, out_of_time = float("-inf"), False
    while True:
        number = signal.sigwait(taken)
        if over.is_set():
            return
        now = time.monotonic()
        repeated = now - last < ONE_EVENT_S or (number == signal.SIGXCPU and out_of_time)  # the kernel sends that each second
        out_of_time |= number == signal.SIGXCPU
        if not repeated:
            last = now
            signal.pthread_kill(main, signal.SIGINT)


@contextmanager
def handlers_like_ctrl_c() -> Iterator[None]:
    """The same by handlers of Python's, for a program that has threads already and calls us from its main one."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    before: Mapping[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        numbers = [number for number in LIKE_CTRL_C if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


@contextmanager
def starting_others() -> Iterator[None]:
    """Puts processes that are forked meanwhile into groups of their own.

    What a terminal or `timeout` sends to the group of a command then reaches the command alone, which ends its processes when
    everything is saved.
    """
    global _starting_others
    _starting_others = True
    try:
        yield
    finally:
        _starting_others = False


def take_signals() -> None:
    """Lets a process that has been forked take signals as any other program does.

    For `preexec_fn` of one that becomes another program: without it Python does nothing in a process that it starts, which then
    has blocked for good what is blocked here.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _blocked)


def _in_child() -> None:
    if _starting_others:
        # A batch system tells every process of a job of its end: those only stop when the command has saved, and by SIGTERM.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _blocked & {signal.SIGTERM})
        os.setpgid(0, 0)
    else:
        take_signals()


os.register_at_fork(after_in_child=_in_child)
