"""Fields that keep their proportion to another one."""

from dataclasses import dataclass

import pytest

from spaces.fields import Value, fields_of, integer
from spaces.follow import followers


@dataclass(frozen=True)
class Frame:
    """A picture and its frame."""

    outer: int = integer(256, 32, 512, follows="inner")
    inner: int = integer(224, 32, 512, follows="outer", multiple_of=8)
    nails: int = integer(4, 1, 9)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, {}),
        ({"nails": 5}, {}),
        ({"inner": 64}, {"outer": 73}),
        ({"inner": 224}, {"outer": 256}),
        ({"outer": 256}, {"inner": 224}),
        ({"outer": 100}, {"inner": 88}),  # 87.5, in steps of 8
        ({"inner": 500}, {"outer": 512}),  # within its range
        ({"outer": 32}, {"inner": 32}),
        ({"inner": 64, "outer": 256}, {}),
        ({"inner": 64, "outer": None}, {"outer": 73}),
    ],
)
def test_what_follows_is_in_proportion_and_within_its_range(given: dict[str, Value], found: dict[str, Value]) -> None:
    assert followers(fields_of(Frame), given) == found
