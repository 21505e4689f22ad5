"""What was counted of each case, chunk by chunk, as one."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar, cast

import numpy as np

Readings = TypeVar("Readings")


def concatenated(parts: Sequence[Readings]) -> Readings:
    """Several chunks' readings as those of all their cases, in order.

    Args:    parts: one or more dataclasses of one kind whose every field is an array, cases first.
    """
    kind: Any = type(parts[0])
    arrays = {field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(kind)}
    return cast(Readings, kind(**arrays))
