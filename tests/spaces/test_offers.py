"""Choices that a search does not offer beside some fixed values."""

from dataclasses import dataclass

import pytest

from spaces.attentive import AttentiveSpace
from spaces.case_limit import CaseLimit
from spaces.fields import choice, complete, fields_of, narrowed
from spaces.gated import GatedSpace
from spaces.offers import limited, offered


@dataclass(frozen=True)
class Kitchen:
    """A lid makes no difference without a pot."""

    lid: str = choice("glass", ("glass", "steel", "none"), without={"steel": {"pot": ("none", "pan")}})
    pot: str = choice("deep", ("deep", "pan", "none"), searched=False)


FIELDS = fields_of(Kitchen)


@pytest.mark.parametrize(
    ("fixed", "left"),
    [
        ({"pot": "deep"}, ("glass", "steel", "none")),
        ({"pot": "pan"}, ("glass", "none")),
        ({"pot": "none"}, ("glass", "none")),
        ({}, ("glass", "steel", "none")),
        # Who sets the field has chosen it.
        ({"pot": "none", "lid": "steel"}, ("glass", "steel", "none")),
    ],
)
def test_a_choice_is_offered_only_where_it_stands_for_something_new(fixed: dict[str, str], left: tuple[str, ...]) -> None:
    found = offered(FIELDS, fixed)
    assert found["lid"].choices == left
    assert found["pot"] == FIELDS["pot"]


def test_it_can_be_set_all_the_same() -> None:
    assert complete(Kitchen, {"lid": "steel", "pot": "none"}) == {"lid": "steel", "pot": "none"}


def test_a_default_that_is_not_offered_gives_way_to_the_first_that_is() -> None:
    fields = narrowed(fields_of(Kitchen), {"lid": "steel|glass|none"})
    assert offered(fields, {"pot": "none"})["lid"].default == "glass"
    alone = narrowed({"lid": fields["lid"]}, {"lid": "steel|none|glass"})
    assert offered({"lid": alone["lid"]}, {"pot": "pan"})["lid"].choices == ("none", "glass")


def test_a_range_that_keeps_no_two_choices_is_refused() -> None:
    fields = narrowed(FIELDS, {"lid": "steel|none"})
    expected = (
        r"--space lid= must leave two values or more that differ beside pot=none; got steel\|none, of which steel is not offered"
        r" there \(one: --set lid=\)"
    )
    with pytest.raises(ValueError, match=expected):
        offered(fields, {"pot": "none"})
    assert offered(fields, {"pot": "deep"})["lid"].choices == ("steel", "none")


def test_fresh_norms_with_frozen_statistics_are_no_norms_and_not_both_are_searched() -> None:
    fields = fields_of(AttentiveSpace)
    assert offered(fields, {"encoder_weights": "none"})["batch_norm"].choices == ("trained", "frozen", "none")
    every = ("trained", "frozen", "frozen_statistics", "none")
    assert offered(fields, {"encoder_weights": "imagenet"})["batch_norm"].choices == every


@pytest.mark.parametrize(
    ("num_cases", "num_labels", "ranges"),
    [
        (127, 24, {"k": "int:2..6", "batch_size": "int:log:8..31"}),  # 6 draws a label are the paper's; 144 of 127 there are not
        (245, 24, {"k": "int:2..10", "batch_size": "int:log:8..144"}),
        (413, 24, {"batch_size": "int:log:8..144"}),  # a quarter is 103; the paper's 144 stays
        (127, 8, {"batch_size": "int:log:8..31"}),
        (20, 2, {"k": "int:2..10", "batch_size": "int:log:8..9"}),
        (5000, 24, {}),
        (0, 0, {}),
    ],
)
def test_how_large_a_batch_may_be_follows_the_number_of_cases(num_cases: int, num_labels: int, ranges: dict[str, str]) -> None:
    assert limited(fields_of(GatedSpace), num_cases, num_labels) == ranges
    assert set(narrowed(fields_of(GatedSpace), ranges)) == set(fields_of(GatedSpace))


def test_the_attentive_papers_batch_stays_with_few_cases() -> None:
    fields = fields_of(AttentiveSpace)
    found = [limited(fields, count, 2).get("batch_size") for count in (2000, 60, 24, 6)]
    assert found == [None, "int:log:4..15", "int:log:4..8", "int:log:4..5"]
    assert CaseLimit(0.5).high(3, 100, 0) == 50
