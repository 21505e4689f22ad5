"""Versions of what a result hangs on, without importing any of it."""

import platform
from importlib import metadata


def versions(*names: str) -> dict[str, str]:
    """Versions of Python, dermtune, numpy, torch and further distributions.

    Args:    names: of further distributions, which must be installed.
    """
    return {
        "python": platform.python_version(),
        "dermtune": _dermtune(),
        **{n: metadata.version(n) for n in ("numpy", "torch", *names)},
    }


def _dermtune() -> str:
    try:
        return metadata.version("dermtune")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return "not installed"
