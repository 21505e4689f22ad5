"""The one place where tests wait: for a condition, and for a time only where time itself is the subject."""

import time
from collections.abc import Callable

import pytest

#: For whatever a test waits for: a guard against hanging, not a bar on speed.
PATIENCE_S = 240.0


def happens(condition: Callable[[], bool], patience_s: float = PATIENCE_S, every_s: float = 0.05) -> bool:
    """Whether a condition comes to hold.

    Args:    condition: asked again and again.
             patience_s: before that is given up.
             every_s: between two questions.
    """
    end = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(every_s)
    return True


def wait_until(condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S, every_s: float = 0.05) -> None:
    """Waits for a condition, and fails with what did not happen, in words; see `happens`."""
    if not happens(condition, patience_s, every_s):
        pytest.fail(f"{what} did not happen within {patience_s:g} s")


def let_pass(seconds: float) -> None:
    """Lets time pass, for a test that is about seconds: a lock that is held, a line that is cut, a processor that rests."""
    time.sleep(seconds)
