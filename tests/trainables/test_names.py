"""Names of tasks, labels and images as parts of metric names and files: safe, short, and never two the same."""

import re
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainables.names import LONGEST, escaped

ANY = st.text(st.characters(categories=None) | st.sampled_from("-x2E%./\\ ~:_"), max_size=120)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("PN", "PN"),
        ("age_band", "age_band"),
        ("blue-whitish veil 1.5", "blue-whitish veil 1.5"),
        (".", "-x2E"),
        ("..", "-x2E-x2E"),
        ("...", "..."),
        ("", "-x"),
        ("a/b", "a-x2Fb"),
        ("../etc", "..-x2Fetc"),
        ("Asymmetry (A)", "Asymmetry -x28A-x29"),
        ("50%", "50-x25"),
        ("x:max", "x-x3Amax"),
        ("~", "-x7E"),
        ("-x2E", "-x2Dx2E"),
        ("größe", "gr-xC3-xB6-xC3-x9Fe"),
        ("a\nb", "a-x0Ab"),
        ("x" * 80, "x" * 80),
        ("x" * 300, "x" * 61 + "-x_" + "0d4e2ca9e9cbced7"),
    ],
)
def test_what_a_name_becomes(name: str, expected: str) -> None:
    assert escaped(name) == expected


@given(ANY)
@example("x" * 300)
def test_a_part_is_safe_everywhere(name: str) -> None:
    part = escaped(name)
    assert re.fullmatch(rf"[A-Za-z0-9_. -]{{1,{LONGEST}}}", part)
    assert part not in (".", "..")


@given(ANY)
def test_a_name_that_is_not_cut_can_be_read_back(name: str) -> None:
    """So that no two such names give the same."""
    part = escaped(name)
    if re.search(r"-x(?![0-9A-F]{2})", part):
        assert not name or part[-19:-16] == "-x_", "only a cut name, or none, has such a mark"
        return
    assert unquote(re.sub(r"-x([0-9A-F]{2})", r"%\1", part.replace("%", "%25")), errors="surrogatepass") == name


@given(st.text("-x_2EF./%", max_size=6), st.text("-x_2EF./%", max_size=6))
@example("-x2E", ".")
@example("", "-x")
def test_two_names_never_give_the_same(one: str, other: str) -> None:
    assert (escaped(one) == escaped(other)) is (one == other)


@given(st.text("ab/", min_size=100, max_size=100), st.text("ab/", min_size=0, max_size=3))
def test_names_that_differ_behind_the_cut_differ(name: str, more: str) -> None:
    assert (escaped(name) == escaped(name + more)) is (more == "")
    assert escaped(escaped(name)) != escaped(name), "what is cut is no name that could stand uncut"
