"""The one place where tests wait: for a condition, never for a time."""

import time
from collections.abc import Callable

import pytest

#: For whatever a test waits for: a guard against hanging, not a bar on speed.
PATIENCE_S = 240.0
_LOOK_EVERY_S = 0.05


def wait_until(happened: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Waits for a condition, and says what did not happen.

    Args:    happened: the condition; it is asked again and again.
             what: in words.
             patience_s: before the test fails.
    """
    end = time.monotonic() + patience_s
    while not happened():
        if time.monotonic() > end:
            pytest.fail(f"{what} did not happen within {patience_s:g} s")
        time.sleep(_LOOK_EVERY_S)
