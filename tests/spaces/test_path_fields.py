"""Path fields: a keyword or a file that is there, always absolute; and a field's value as a number."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spaces.fields import Field, Value, complete, fields_of, number, path, real


@dataclass(frozen=True)
class Encoder:
    """A space with a path beside a number."""

    weights: str = path("download", ("download", "none"), doc="of the encoder")
    rate: float = real(0.5, 0.0, 1.0)


WEIGHTS = fields_of(Encoder)["weights"]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in the home directory, which is also the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (found := tmp_path / "my weights.pth").write_bytes(b"")
    return found


def test_a_path_field_is_declared_with_its_keywords_and_never_searched() -> None:
    assert Field("weights", "path", "download", choices=("download", "none"), searched=False, doc="of the encoder") == WEIGHTS
    assert WEIGHTS.range_text() == "download|none|FILE"


@pytest.mark.parametrize("keyword", ["download", "none"])
def test_a_keyword_stays_as_it_is_even_beside_a_file_of_that_name(file: Path, keyword: str) -> None:
    Path(keyword).write_bytes(b"")
    assert WEIGHTS.parse(keyword) == keyword
    assert complete(Encoder, {"weights": keyword}) == {"weights": keyword, "rate": 0.5}


@pytest.mark.parametrize("typed", ["my weights.pth", "./my weights.pth", "sub/../my weights.pth", "~/my weights.pth"])
def test_a_file_becomes_an_absolute_path(file: Path, typed: str) -> None:
    assert WEIGHTS.parse(typed) == str(file.resolve())
    assert WEIGHTS.parse(str(file)) == str(file.resolve())
    assert complete(Encoder, {"weights": WEIGHTS.parse(typed)})["weights"] == str(file.resolve())


@pytest.mark.parametrize("typed", ["no such.pth", "~/no such.pth", "Download"])
def test_a_missing_file_is_refused_with_its_place(file: Path, typed: str) -> None:
    place = file.parent.resolve() / typed.removeprefix("~/")
    with pytest.raises(ValueError, match=rf"^weights must be download, none or a file; got '{place}' \(--set weights=\)$"):
        WEIGHTS.parse(typed)


@pytest.mark.parametrize("typed", ["", ".", "~"])
def test_a_folder_is_no_file(file: Path, typed: str) -> None:
    with pytest.raises(ValueError, match=r"^weights must be download, none or a file; got '/.*' \(--set weights=\)$"):
        WEIGHTS.parse(typed)


@pytest.mark.parametrize("value", [None, True, 3, "none such"])
def test_a_value_that_is_neither_keyword_nor_file_is_refused(value: Value) -> None:
    with pytest.raises(ValueError, match=rf"^weights must be download, none or a file; got {value!r} \(--set weights=\)$"):
        WEIGHTS.check(value)


@pytest.mark.parametrize("typed", ["~no-such-user/x.pth", "a\0b", "a" * 300])
def test_a_path_that_no_system_has_is_refused_like_a_missing_file(typed: str) -> None:
    with pytest.raises(ValueError, match=r"^weights must be download, none or a file; got .*\(--set weights=\)$"):
        WEIGHTS.parse(typed)


@given(st.text(st.characters(blacklist_characters="\0~", blacklist_categories=["Cs"]), max_size=20))
def test_any_text_is_a_keyword_or_refused_in_one_line(typed: str) -> None:
    if typed in WEIGHTS.choices:
        assert WEIGHTS.parse(typed) == typed
        return
    message = r"^weights must be download, none or a file; got ['\"].*['\"] \(--set weights=\)$"
    with pytest.raises(ValueError, match=message) as caught:
        WEIGHTS.parse(f"/no such folder/{typed}")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("value", "expected"), [(3, 3.0), (0.25, 0.25), (-1, -1.0)])
def test_a_fields_value_is_a_float(value: Value, expected: float) -> None:
    found = number({"k": value}, "k")
    assert (found, type(found)) == (expected, float)


@pytest.mark.parametrize("value", [None, "3", "auto"])
def test_a_value_that_is_no_number_is_refused(value: Value) -> None:
    with pytest.raises(ValueError, match=rf"^k must be a number; got {value!r} \(--set k=\)$"):
        number({"k": value}, "k")
