"""The files that people have: encodings, separators, Excel, and what is said of each guess."""

import codecs
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from trainables.data.tables import read_table
from trainables.errors import DataError

HEADER = ["image", "split", "größe", "dicke"]
ROWS = [["a.png", "train", "klein", "0.8"], ["b.png", "valid", "groß", "1"]]
SEMICOLONS = "{} is read as a table with semicolons between columns"
TABS = "{} is read as a table with tabs between columns"
LATIN = "{} is no UTF-8, and is read as Windows-1252 (Latin-1)"


def text(separator: str, decimal: str = ".", ends: str = "\n") -> str:
    return "".join(
        separator.join(cells) + ends for cells in [HEADER, *([*row[:3], row[3].replace(".", decimal)] for row in ROWS)]
    )


@pytest.mark.parametrize(
    ("name", "contents", "notes"),
    [
        ("t.csv", text(",").encode(), []),
        ("t.csv", text(",", ends="\r\n").encode("utf-8-sig"), []),
        ("t.csv", text(";", ",", "\r\n").encode("utf-8-sig"), [SEMICOLONS]),
        ("t.csv", text(";", ",").encode("latin-1"), [LATIN, SEMICOLONS]),
        ("t.csv", codecs.BOM_UTF8 + text(";", ",").encode("latin-1"), [LATIN, SEMICOLONS]),
        ("t.csv", b"sep=;\r\n" + text(";", ",", "\r\n").encode("cp1252"), [LATIN, SEMICOLONS]),
        ("t.csv", text("\t").encode(), [TABS]),
        ("t.TSV", text("\t").encode(), [TABS]),
        ("t.txt", text("\t", ",", "\r\n").encode("utf-16"), [TABS]),
        ("t.csv", text(",").replace("\n", " \n").replace(",", " , ").encode(), []),
        ("t.csv", text(",").replace("\n", ",,\n").encode(), []),
    ],
)
def test_a_text_reads_to_the_same_table_whatever_wrote_it(
    tmp_path: Path, name: str, contents: bytes, notes: Sequence[str]
) -> None:
    (tmp_path / name).write_bytes(contents)
    told: list[str] = []
    found = read_table(tmp_path / name, told)
    assert [str(column) for column in found.columns] == HEADER
    assert found.replace("0,8", "0.8").to_numpy().tolist() == ROWS
    assert told == [note.format(name) for note in notes]


@pytest.mark.parametrize(
    ("lines", "columns"),
    [
        ('image,split,"note; a; b; c; d",dx', ["image", "split", "note; a; b; c; d", "dx"]),
        ("image,split,dx;seen,dx", ["image", "split", "dx;seen", "dx"]),
        (
            "image;split;diagnosis, dermoscopic;age, years;site",
            ["image", "split", "diagnosis, dermoscopic", "age, years", "site"],
        ),
        ('image;split;"two\nlines"', ["image", "split", "two lines"]),
        ("indexes", ["indexes"]),
    ],
)
def test_a_separator_within_a_name_parts_no_columns(tmp_path: Path, lines: str, columns: list[str]) -> None:
    (tmp_path / "t.csv").write_text(lines + "\n" + (";" if "image;" in lines else ",").join("x" * len(columns)) + "\n")
    assert list(read_table(tmp_path / "t.csv", []).columns) == columns


def test_semicolons_in_cells_of_a_comma_table_stay(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('image,note\na.png,"red; itching, since; 2019"\nb.png,none;\n')
    told: list[str] = []
    assert read_table(tmp_path / "t.csv", told)["note"].tolist() == ["red; itching, since; 2019", "none;"]
    assert told == []


def test_commas_are_decimal_only_in_columns_of_numbers_of_a_table_parted_by_something_else(tmp_path: Path) -> None:
    rows = [f"x;{i},5;1,{i % 10};see {i},5;{i}" for i in range(11)]
    (tmp_path / "t.csv").write_text("\n".join(["image;a;labels;b;c", *rows, "y;20;;2;2", "z;;;;", ""]))
    (tmp_path / "commas.csv").write_text('image,a\nx,"1,5"\n')
    told: list[str] = []
    found = read_table(tmp_path / "t.csv", told)
    assert found.iloc[[1, -2, -1], 1:].fillna("").to_numpy().tolist() == [
        ["1.5", "1,1", "see 1,5", "1"],
        ["20", "", "2", "2"],
        ["", "", "", ""],
    ]
    assert told[1:] == ["decimal commas are read as points in a"]
    (tmp_path / "gaps.csv").write_text("\n".join(["image;a", *(f"x;{i},5" for i in range(11)), "x;NA", "x;n/a", "x;"]))
    assert read_table(tmp_path / "gaps.csv", told)["a"].fillna("").tolist()[-4:] == ["10.5", "NA", "n/a", ""]
    assert read_table(tmp_path / "commas.csv", [])["a"].tolist() == ["1,5"]


def test_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\n\nimage,a\nx,1\n\n,\ny,2\n")
    assert list(read_table(tmp_path / "t.csv", []).index) == [4, 7]
    (tmp_path / "t.csv").write_text("sep=;\nimage;a\nx;1\ny;2;3\n")
    with pytest.raises(DataError, match=r"^every line of the table must have the header's 2 cells; got 3 on line 4 \("):
        read_table(tmp_path / "t.csv", [])


def test_a_line_break_in_quotes_is_counted_and_rows_within_quotes_are_told(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(b'image,a,note\r\nx,1,"two\r\nlines"\r\ny,2,\r\n')
    told: list[str] = []
    assert list(read_table(file, told).index) == [2, 4]
    assert told == []
    file.write_text('image,a,note\nx,1,"two\nlines"\ny,2,,3\n')
    with pytest.raises(DataError, match=r"got 4 on line 4 \("):
        read_table(file, [])
    file.write_text('image,a,note\nx,1,"red\ny,2,\nz,3,blue"\nw,4,\n')
    assert list(read_table(file, told).index) == [2, 5]
    assert told == [
        "1 cell in quotes holds lines that look like rows, which are not read as rows: a quote is probably missing"
        " (the first: line 2)"
    ]


@pytest.mark.parametrize("end", ['"open\ny,2,\n', '"open' + "\ny,2,b" * 30_000])
def test_a_quote_that_is_never_closed_is_named_by_its_line(tmp_path: Path, end: str) -> None:
    (tmp_path / "t.csv").write_text("image,a,note\nw,1,\nx,1," + end)
    with pytest.raises(DataError, match=r"^every quote of the table must be closed; got one on line 3 that is not \("):
        read_table(tmp_path / "t.csv", [])


def test_rows_with_fewer_cells_than_the_heading_are_told_once(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,split,a,\nx,train,1\ny,train\n\nz\n")
    told: list[str] = []
    assert len(read_table(tmp_path / "t.csv", told)) == 3
    assert told == ["2 lines have fewer cells than the heading, and what is missing is empty (the first: line 3)"]


def test_parquet_integers_beside_an_empty_cell_keep_their_digits(tmp_path: Path) -> None:
    ids = [12345678901234567, 12345678901234568, None]
    columns = {"id": pa.array(ids, pa.int64()), "big": pa.array([2**64 - 1, None, 1], pa.uint64())}
    columns |= {"few": pa.array([1, None, 2], pa.int8()), "packed": pa.array(ids, pa.int64()).dictionary_encode()}
    parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    found = read_table(tmp_path / "t.parquet", []).fillna("")
    assert found["id"].tolist() == found["packed"].tolist() == ["12345678901234567", "12345678901234568", ""]
    assert found["big"].tolist() == ["18446744073709551615", "", "1"]
    assert found["few"].tolist() == ["1", "", "2"]


def test_a_column_without_a_name_is_left_out_and_told(tmp_path: Path) -> None:
    pd.DataFrame({"image": ["x", "y"], "a": ["1", "2"]}).to_csv(tmp_path / "t.csv")
    told: list[str] = []
    assert list(read_table(tmp_path / "t.csv", told).columns) == ["image", "a"]
    assert told == ["column 1 has no name and is left out"]


def test_excel_reads_its_first_sheet(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    with pd.ExcelWriter(tmp_path / "t.xlsx", engine="openpyxl") as book:
        frame = pd.DataFrame({"image": ["x", "y", None], "grade": [1, 2, None], "mm": [0.5, 2.0, None], "dx ": ["NA", "b", None]})
        frame.to_excel(book, sheet_name="Fälle", index=False)
        frame.to_excel(book, sheet_name="old", index=False)
    told: list[str] = []
    found = read_table(tmp_path / "t.xlsx", told)
    assert list(found.columns) == ["image", "grade", "mm", "dx"]
    assert found.to_numpy().tolist() == [["x", "1", "0.5", "NA"], ["y", "2", "2", "b"]]
    assert told == ["t.xlsx has 2 sheets: the first, Fälle, is read"]
    (tmp_path / "broken.xlsx").write_bytes(b"PK no zip")
    with pytest.raises(DataError, match=r"^the table must be a readable xlsx file; got .*broken\.xlsx: [^\n]+$"):
        read_table(tmp_path / "broken.xlsx", [])


def test_without_openpyxl_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainables.data import tables

    (tmp_path / "t.xlsx").write_bytes(b"PK")
    monkeypatch.setattr(tables, "find_spec", lambda name: None)
    with pytest.raises(
        DataError, match=r"^openpyxl must be installed to read t\.xlsx \(pip install 'dermtune\[excel\]', or save"
    ):
        read_table(tmp_path / "t.xlsx", [])
