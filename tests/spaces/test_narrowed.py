"""Ranges of the user's own: what a text makes of a field, and what is refused."""

import dataclasses
import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces.fields import Value, choice, fields_of, flag, integer, narrowed, real


@dataclass(frozen=True)
class Kitchen:
    """A space with one field of every kind that can be searched, and one that is not."""

    heat: float = real(3.0, 0.5, 30.0, log=True)
    salt: float = real(0.0, -1.0, 1.0)
    pots: int = integer(4, 2, 12)
    watts: int = integer(40, 1, 100, log=True)
    fuel: str = choice("gas", ("gas", "wood", "coal"))
    scale: float = choice(1.0, (0.5, 1.0, 2.0))
    lid: bool = flag(True)
    steps: int = integer(0, 0, 9, searched=False, when={"fuel": ("gas", "wood")}, unit="steps", doc="up the stairs")


FIELDS = fields_of(Kitchen)


@pytest.mark.parametrize(
    ("name", "text", "low", "high", "log", "default"),
    [
        ("heat", "log:1..10", 1.0, 10.0, True, 3.0),
        ("heat", "1..10", 1.0, 10.0, False, 3.0),  # the text alone says which scale
        ("heat", "0.5..30", 0.5, 30.0, False, 3.0),  # its own range
        ("heat", "log:1e0..1e1", 1.0, 10.0, True, 3.0),
        ("heat", "5..10", 5.0, 10.0, False, 5.0),  # the default moves to the nearest end
        ("heat", "0.5..2", 0.5, 2.0, False, 2.0),
        ("heat", "log:.5..2.", 0.5, 2.0, True, 2.0),
        ("heat", "1.5..2.5", 1.5, 2.5, False, 2.5),
        ("salt", "-0.5..0.5", -0.5, 0.5, False, 0.0),
        ("salt", "-1..-1e-1", -1.0, -0.1, False, -0.1),
        ("salt", "-.5..-.25", -0.5, -0.25, False, -0.25),
        ("pots", "2..8", 2, 8, False, 4),
        ("pots", "int:5..8", 5, 8, False, 5),
        ("pots", "int:log:2..3", 2, 3, True, 3),
        ("watts", "int:log:10..20", 10, 20, True, 20),
        ("watts", "log:10..20", 10, 20, True, 20),
        ("steps", "1..3", 1, 3, False, 1),
    ],
)
def test_a_range_of_numbers(name: str, text: str, low: float, high: float, log: bool, default: float) -> None:
    field = FIELDS[name].narrowed(text)
    found = (field.low, field.high, field.log, field.default)
    assert found == (low, high, log, default)
    assert [type(value) for value in found] == [type(value) for value in (low, high, log, default)]
    assert field.kind == FIELDS[name].kind
    assert field.searched, "who narrows a field wants it searched"


@pytest.mark.parametrize(
    ("name", "text", "choices", "default"),
    [
        ("fuel", "gas|wood", ("gas", "wood"), "gas"),
        ("fuel", "coal|wood", ("coal", "wood"), "coal"),  # without the default the first
        ("fuel", "coal|gas|coal", ("coal", "gas"), "gas"),
        ("scale", "0.5|2", (0.5, 2.0), 0.5),
        ("scale", "1|2", (1.0, 2.0), 1.0),
        ("lid", "false|true", (False, True), True),
        ("heat", "1|10", (1.0, 10.0), 1.0),  # a few values of a number: the nearest to the default
        ("heat", "10|2.5", (10.0, 2.5), 2.5),
        ("heat", "3|30", (3.0, 30.0), 3.0),
        ("pots", "12|2|8", (12, 2, 8), 2),  # 4 is two from 2 and four from 8
        ("pots", "12|8|3", (12, 8, 3), 3),
        ("steps", "1|2", (1, 2), 1),
    ],
)
def test_a_few_values(name: str, text: str, choices: tuple[Value, ...], default: Value) -> None:
    field = FIELDS[name].narrowed(text)
    assert (field.kind, field.choices, field.default, field.log, field.searched) == ("choice", choices, default, False, True)
    assert [type(value) for value in field.choices] == [type(value) for value in choices]
    assert all(field.parse(part) in choices for part in text.split("|"))
    assert field.check(default) == default


def test_a_narrowed_field_keeps_what_a_range_does_not_say() -> None:
    field = FIELDS["steps"].narrowed("1..3")
    kept = {entry.name for entry in dataclasses.fields(field)} - {"low", "high", "default", "searched"}
    assert {name: getattr(field, name) for name in kept} == {name: getattr(FIELDS["steps"], name) for name in kept}


OWN = {"heat": "log:0.5..30", "salt": "-1..1", "pots": "int:2..12", "watts": "int:log:1..100"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        # beyond the field's own range, empty, or turned round
        *[
            (name, text, f"--space {name}= must be a range within {OWN[name]}; got {text!r}")
            for name, text in [
                ("heat", "0.4..10"),
                ("heat", "1..31"),
                ("heat", "1..inf"),
                ("heat", "nan..10"),
                ("heat", "1..nan"),
                ("heat", "10..1"),
                ("heat", "3..3"),
                ("salt", "log:0..1"),
                ("salt", "log:-1..1"),
                ("pots", "1..8"),
                ("pots", "int:2..13"),
                ("pots", "8..2"),
                ("watts", "0..50"),
            ]
        ],
        ("heat", "cold..hot", "--space heat= must be a range of a number in 0.5..30; got 'cold..hot'"),
        ("heat", "1..2..3", "--space heat= must be a range of a number in 0.5..30; got '1..2..3'"),
        ("heat", "1..", "--space heat= must be a range such as log:0.5..30; got '1..'"),
        ("heat", "..1", "--space heat= must be a range such as log:0.5..30; got '..1'"),
        ("heat", "..", "--space heat= must be a range such as log:0.5..30; got '..'"),
        ("heat", "int:1..10", "--space heat= must be a range such as log:0.5..30; got 'int:1..10'"),
        ("heat", "ln:1..10", "--space heat= must be a range such as log:0.5..30; got 'ln:1..10'"),
        ("pots", "2.5..8", "--space pots= must be a range of a whole number in 2..12; got '2.5..8'"),
        ("pots", "log:int:2..8", "--space pots= must be a range such as int:2..12; got 'log:int:2..8'"),
        ("fuel", "gas..coal", "--space fuel= must be some of gas|wood|coal; got 'gas..coal'"),
        ("lid", "0..1", "--space lid= must be some of true|false; got '0..1'"),
        # too few values
        ("fuel", "gas", "--space fuel= must leave two values or more; got 'gas' (one: --set fuel=)"),
        ("fuel", "gas|gas", "--space fuel= must leave two values or more; got 'gas|gas' (one: --set fuel=)"),
        ("heat", "3", "--space heat= must leave two values or more; got '3' (one: --set heat=)"),
        ("heat", "3|3.0", "--space heat= must leave two values or more; got '3|3.0' (one: --set heat=)"),
        # values that the field cannot take
        ("fuel", "gas|oil", "fuel must be one of gas|wood|coal; got 'oil' (--set fuel=)"),
        ("fuel", "", "fuel must be one of gas|wood|coal; got '' (--set fuel=)"),
        ("fuel", "gas|", "fuel must be one of gas|wood|coal; got '' (--set fuel=)"),
        ("heat", "1|31", "heat must be a number in 0.5..30; got 31.0 (--set heat=)"),
        ("heat", "1|hot", "heat must be a number in 0.5..30; got 'hot' (--set heat=)"),
        ("pots", "2|2.5", "pots must be a whole number in 2..12; got '2.5' (--set pots=)"),
    ],
)
def test_what_is_no_range_is_refused(name: str, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^{re.escape(message)}$"):
        FIELDS[name].narrowed(text)


@given(st.floats(0.5, 30), st.floats(0.5, 30), st.booleans())
def test_any_range_within_comes_back_as_it_was_written(one: float, other: float, log: bool) -> None:
    low, high = sorted((one, other))
    text = f"{'log:' if log else ''}{low!r}..{high!r}"
    if low == high:
        with pytest.raises(ValueError, match="must be a range within"):
            FIELDS["heat"].narrowed(text)
        return
    field = FIELDS["heat"].narrowed(text)
    assert (field.low, field.high, field.log) == (low, high, log)
    assert low <= float(field.default or 0) <= high
    assert field.check(low) == low


@pytest.mark.parametrize("name", FIELDS)
def test_the_range_that_a_field_shows_is_one_that_it_takes(name: str) -> None:
    """`dermtune space` prints ranges as the command line writes them."""
    field = FIELDS[name].narrowed(FIELDS[name].range_text())
    assert (field.kind, field.low, field.high, field.log, field.choices, field.default) == tuple(
        getattr(FIELDS[name], attribute) for attribute in ("kind", "low", "high", "log", "choices", "default")
    )


def test_fields_are_narrowed_by_name_and_the_others_left_as_they_are() -> None:
    found = narrowed(FIELDS, {"pots": "2..3", "fuel": "gas|coal"})
    assert list(found) == list(FIELDS)
    assert {name for name in found if found[name] is not FIELDS[name]} == {"pots", "fuel"}
    assert (found["pots"].high, found["fuel"].choices) == (3, ("gas", "coal"))
    assert narrowed(FIELDS, {}) == FIELDS


@pytest.mark.parametrize(
    ("name", "hint"), [("heta", " (did you mean 'heat'?)"), ("watt", " (did you mean 'watts'?)"), ("zzz", ""), ("", "")]
)
def test_an_unknown_name_is_refused_with_the_nearest_one(name: str, hint: str) -> None:
    message = f"a field must be one that `dermtune space` lists; got {name!r}{hint}"
    with pytest.raises(ValueError, match=rf"^{re.escape(message)}$"):
        narrowed(FIELDS, {"pots": "2..3", name: "1..2"})
