"""Fields: what a text stands for, what fits, when a field means anything, and the nearest name."""

import dataclasses
import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces.bowl import BowlSpace
from spaces.fields import Field, choice, complete, fields_of, flag, format_value, integer, known_field, real, suggest, text
from spaces.gated import GatedSpace


@dataclass(frozen=True)
class Shop:
    """A space with one field of every kind and a chain of conditions."""

    engine: str = choice("steam", ("steam", "electric"))
    pressure: float = real(3.0, 0.5, 30.0, log=True, when={"engine": ("steam",)}, unit="bar")
    wheels: int = integer(4, 2, 12)
    scale: float = choice(1.0, (0.5, 1.0, 2.0))
    lamp: bool = flag(True)
    watt: int = integer(40, 1, 100, log=True, when={"lamp": (True,), "engine": ("electric", "steam")})
    shade: float = real(0.2, 0.0, 1.0, when={"lamp": (True,)})
    label: str = text("plain", source="nobody")


FIELDS = fields_of(Shop)
NUMBERS = {"pressure": FIELDS["pressure"], "wheels": FIELDS["wheels"], "shade": FIELDS["shade"]}
ALL_FIELDS = [*FIELDS.values(), *fields_of(GatedSpace).values(), *fields_of(BowlSpace).values()]


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("pressure", "3", 3.0),
        ("pressure", "0.5", 0.5),
        ("pressure", "30", 30.0),
        ("pressure", "1e1", 10.0),
        ("wheels", "2", 2),
        ("wheels", "12", 12),
        ("engine", "electric", "electric"),
        ("scale", "0.5", 0.5),
        ("scale", "2", 2.0),
        ("lamp", "true", True),
        ("lamp", "false", False),
        ("label", "", ""),
        ("label", "two words", "two words"),
    ],
)
def test_a_text_parses_to_the_value_and_type_it_stands_for(name: str, typed: str, value: object) -> None:
    parsed = FIELDS[name].parse(typed)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("name", "typed", "message"),
    [
        ("pressure", "0.49", r"^pressure must be a number in 0\.5\.\.30; got 0\.49 \(--set pressure=\)$"),
        ("pressure", "30.001", r"^pressure must be a number in 0\.5\.\.30; got 30\.001"),
        ("pressure", "nan", r"^pressure must be a number in 0\.5\.\.30; got nan"),
        ("pressure", "inf", r"^pressure must be a number in 0\.5\.\.30; got inf"),
        ("pressure", "three", r"^pressure must be a number in 0\.5\.\.30; got 'three'"),
        ("pressure", "", r"^pressure must be a number in 0\.5\.\.30; got ''"),
        ("wheels", "1", r"^wheels must be a whole number in 2\.\.12; got 1 "),
        ("wheels", "13", r"^wheels must be a whole number in 2\.\.12; got 13 "),
        ("wheels", "4.0", r"^wheels must be a whole number in 2\.\.12; got '4\.0'"),
        ("engine", "Steam", r"^engine must be one of steam\|electric; got 'Steam' \(--set engine=\)$"),
        ("scale", "3", r"^scale must be one of 0\.5\|1\|2; got '3'"),
        ("lamp", "yes", r"^lamp must be one of true\|false; got 'yes'"),
    ],
)
def test_a_text_that_does_not_fit_is_refused_with_range_and_place(name: str, typed: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FIELDS[name].parse(typed)


@pytest.mark.parametrize("typed", ["1", "1.0", "1e0"])
def test_a_choice_of_numbers_takes_every_spelling_of_the_number(typed: str) -> None:
    assert FIELDS["scale"].parse(typed) == 1.0


@given(st.sampled_from(ALL_FIELDS), st.text() | st.floats().map(repr) | st.integers().map(str) | st.sampled_from(["true", "off"]))
def test_any_text_parses_into_the_range_or_is_refused_in_one_line(field: Field, typed: str) -> None:
    try:
        value = field.parse(typed)
    except ValueError as error:
        message = str(error)
        assert len(message.splitlines()) == 1
        assert message.startswith(f"{field.name} must be ")
        assert message.endswith(f"(--set {field.name}=)")
    else:
        assert field.check(value) == value
        if field.kind in ("real", "integer"):
            assert field.low <= value <= field.high
        elif field.kind == "choice":
            assert value in field.choices
        else:
            assert value == typed


@given(st.data(), st.sampled_from([field for field in ALL_FIELDS if field.kind != "text"]))
def test_a_formatted_value_parses_back_to_itself(data: st.DataObject, field: Field) -> None:
    if field.kind == "real":
        value = data.draw(st.floats(field.low, field.high))
    elif field.kind == "integer":
        value = data.draw(st.integers(int(field.low), int(field.high)))
    else:
        value = data.draw(st.sampled_from(field.choices))
    parsed = field.parse(format_value(value))
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(True, "true"), (False, "false"), (None, "-"), (0.5, "0.5"), (1.0, "1"), (1e-4, "0.0001"), (7, "7"), ("a", "a")],
)
def test_values_are_written_as_the_command_line_writes_them(value: float | str | None, shown: str) -> None:
    assert format_value(value) == shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("engine", "steam|electric"),
        ("pressure", "log:0.5..30"),
        ("wheels", "int:2..12"),
        ("watt", "int:log:1..100"),
        ("shade", "0..1"),
        ("lamp", "true|false"),
        ("label", "text"),
    ],
)
def test_ranges_are_written_as_the_command_line_writes_them(name: str, shown: str) -> None:
    assert FIELDS[name].range_text() == shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pressure", True),
        ("pressure", "3"),
        ("pressure", None),
        ("pressure", math.nan),
        ("wheels", True),
        ("wheels", 4.0),
        ("lamp", 1),
        ("scale", 1),
        ("scale", True),
        ("label", 3),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be .*; got {value!r} \(--set {name}=\)$"):
        FIELDS[name].check(value)  # type: ignore[arg-type]


def test_a_whole_number_given_to_a_real_field_becomes_a_float() -> None:
    value = FIELDS["pressure"].check(3)
    assert value == 3.0
    assert type(value) is float


def test_a_field_keeps_what_it_was_declared_with() -> None:
    assert FIELDS["pressure"] == Field(
        "pressure", "real", 3.0, low=0.5, high=30.0, log=True, when={"engine": ("steam",)}, unit="bar"
    )
    assert FIELDS["label"].searched is False
    assert FIELDS["wheels"].searched is True
    assert list(FIELDS) == ["engine", "pressure", "wheels", "scale", "lamp", "watt", "shade", "label"]
    assert Shop() == Shop("steam", 3.0, 4, 1.0, True, 40, 0.2, "plain")


def test_complete_gives_defaults_and_none_for_inactive_fields() -> None:
    defaults = {f.name: f.default for f in dataclasses.fields(Shop)}
    assert complete(Shop, {}) == defaults
    assert complete(Shop, {"engine": "electric", "lamp": False, "wheels": 6}) == defaults | {
        "engine": "electric",
        "pressure": None,
        "wheels": 6,
        "lamp": False,
        "watt": None,
        "shade": None,
    }
    assert complete(Shop, {"engine": "electric", "watt": 60}) == defaults | {"engine": "electric", "pressure": None, "watt": 60}


def test_none_for_an_inactive_field_is_no_value() -> None:
    assert complete(Shop, {"engine": "electric", "pressure": None})["pressure"] is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"engine": "electric", "pressure": 2.0},
            r"^pressure must be left out unless engine=steam; got 2\.0 \(--set pressure=\)$",
        ),
        ({"lamp": False, "watt": 60}, r"^watt must be left out unless lamp=true and engine=electric\|steam; got 60"),
    ],
)
def test_an_inactive_field_with_a_value_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        complete(Shop, given)  # type: ignore[arg-type]


def test_complete_checks_what_it_is_given() -> None:
    with pytest.raises(ValueError, match=r"wheels must be a whole number in 2\.\.12; got 99"):
        complete(Shop, {"wheels": 99})


def test_an_unknown_field_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"got 'presure' \(did you mean 'pressure'\?\)$"):
        complete(Shop, {"presure": 2.0})
    with pytest.raises(ValueError, match=r"got 'gama_g' \(did you mean 'gamma_g'\?\)$"):
        known_field(fields_of(GatedSpace), "gama_g")


def test_a_name_near_to_none_gets_no_suggestion() -> None:
    assert suggest("zzz", ["asha", "none"]) == ""
    assert suggest("ash", ["asha", "none"]) == " (did you mean 'asha'?)"


@given(st.sampled_from(["steam", "electric"]), st.booleans())
def test_a_field_is_none_exactly_when_its_condition_fails(engine: str, lamp: bool) -> None:
    values = complete(Shop, {"engine": engine, "lamp": lamp})
    for name, field in FIELDS.items():
        holds = all(values[key] in allowed for key, allowed in field.when.items())
        assert (values[name] is None) is not holds
