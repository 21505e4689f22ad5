"""`dermtune data check`: all that is wrong in one pass, and the verdict where the counts stand."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.cli.main import run
from trainables.data import DATASETS


def table(folder: Path, rows: Sequence[str], header: str = "image,split,patient_id,diagnosis") -> str:
    """A table of these rows beside eight images of noise, `0.png` to `7.png`."""
    generator = np.random.default_rng(0)
    for number in range(8):
        pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "cases.csv").write_text("\n".join([header, *rows, ""]))
    return f"table:{folder / 'cases.csv'}"


GOOD = [f"{n}.png,{'train' if n < 5 else 'valid'},p{n},{('nevus', 'melanoma')[n % 2]}" for n in range(8)]


def problems_of(source: str, capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    """What the JSON document lists, which is what a person is shown."""
    assert run(("data", "check", source, "--json", *options)) == 2
    document = json.loads(capsys.readouterr().out)
    assert run(("data", "check", source, *options)) == 2
    shown = capsys.readouterr()
    assert [line.removeprefix("problem: ") for line in shown.err.splitlines() if line.startswith("problem: ")] == document[
        "problems"
    ]
    assert shown.out.splitlines()[-1] == document["verdict"]
    return list(document["problems"])


def test_columns_cells_images_and_what_stands_in_two_splits_are_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{row},note {number}" for number, row in enumerate(GOOD * 2)]
    rows[1] = rows[1].replace("train", "tran")  # an unknown split
    rows[2] = rows[2].replace("2.png", "none.png")  # no such image
    rows[8:] = [row.replace(",p", ",q") for row in rows[8:]]
    rows[8] = rows[8].replace("0.png", "7.png")  # an image in two splits
    rows[9] = rows[9].replace("q1", "p6")  # a patient in two splits
    source = table(tmp_path, rows, "image,split,patient_id,diagnosis,comment")
    (tmp_path / "4.png").write_bytes(b"no image")
    (tmp_path / "3.png").write_bytes((tmp_path / "5.png").read_bytes())  # a picture in two splits
    problems = problems_of(source, capsys, "--ignore", "age")
    expected = (
        "--ignore must name columns of cases.csv; got 'age'",
        "split must be train, valid, test; got 'tran'",
        "column 'comment' must be labels",
        "none.png does not exist",
        "image 7.png must be in one split",
        "patient_id 'p6' must be in one split",
        "4.png must be an image that decodes",
        "the very picture of 3.png",
    )
    missed = [text for text in expected if not any(text in problem for problem in problems)]
    assert not missed, problems
    assert not any("must have the labels" in problem for problem in problems), "comments are no labels to contradict each other"


def test_columns_that_are_missing_hide_no_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{row},note {number},{number}.5.2024" for number, row in enumerate(GOOD * 2)]
    rows[3] = rows[3].replace("3.png", "none.png")
    source = table(tmp_path, rows, "image_id,set,patient_id,diagnosis,comment,day")
    problems = problems_of(source, capsys, "--columns", "diagnosis,comment,who", "--group", "nobody")
    expected = [
        "--columns must name columns of cases.csv; got 'who'",
        "the table must have a column 'image' (--image image_id takes that one)",
        "the table must have a column 'split' (--split-column set takes that one)",
        "--group must name a column of cases.csv",
        "column 'comment' must be labels",
        "line 5: image",
    ]
    assert len(problems) == len(expected), problems
    assert all(text in problem for text, problem in zip(expected, problems, strict=True)), problems


def test_a_task_of_one_label_is_told_beside_an_image_that_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row.replace("melanoma", "nevus") for row in GOOD]
    source = table(tmp_path, [rows[0].replace("0.png", "none.png"), *rows[1:]])
    missing, unranked = problems_of(source, capsys)
    assert missing.startswith("line 2: image")
    assert unranked.startswith("the primary task, diagnosis, must have two labels or more in training; got nevus only")


def test_labels_of_derm7pt_that_are_wrong_hide_no_image_that_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    synthesise = DATASETS["derm7pt"].synthesise
    assert synthesise is not None
    synthesise(tmp_path / "set", 30, 32, 0)
    meta = tmp_path / "set" / "meta" / "meta.csv"
    lines = meta.read_text().splitlines()
    image = lines[1].split(",")[lines[0].split(",").index("derm")]
    (tmp_path / "set" / "images" / image).write_bytes(b"no image")
    lines[2] = lines[2].replace("absent", "perhaps", 1)
    meta.write_text("\n".join([*lines, ""]))
    problems = problems_of(f"derm7pt:{tmp_path / 'set'}", capsys)
    assert ["'perhaps'" in problems[0], image in problems[1]] == [True, True], problems
    meta.write_text(meta.read_text().replace("pigment_network", "a").replace("streaks", "b"))
    absent = problems_of(f"derm7pt:{tmp_path / 'set'}", capsys, "--group", "who")
    assert ["pigment_network" in absent[0], "streaks" in absent[1], "--group must name" in absent[2]] == [True] * 3, absent


def test_nothing_is_noted_of_columns_that_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{row},{number},5;{number},25".replace(",p", ";p").replace(".png,", ".png;") for number, row in enumerate(GOOD * 2)]
    rows = [";".join([*row.split(";")[:2], *row.split(";")[2].split(",", 2), row.split(";")[3]]) for row in rows]
    source = table(tmp_path, rows, "image;split;patient_id;diagnosis;mm;width  in mm")
    for options, noted in (
        (("--ignore", "mm"), ["width in mm"]),
        (("--ignore", "mm,width in mm"), []),
        (("--columns", "diagnosis"), []),
        ((), ["mm, width in mm"]),
    ):
        run(("data", "check", source, "--json", *options))
        notes = json.loads(capsys.readouterr().out)["notes"]
        found = [note for note in notes if "decimal" in note]
        assert found == [f"decimal commas are read as points in {names}" for names in noted], options


def test_the_verdict_stands_on_stdout_below_the_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = table(tmp_path, GOOD)
    assert run(("data", "check", source)) == 0
    shown = capsys.readouterr()
    assert "dermtune search gated --data" in shown.out.splitlines()[-1]
    assert "dermtune search" not in shown.err


def test_a_table_without_a_split_gets_one_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{n % 8}.png,p{n % 8},{('nevus', 'melanoma')[n % 2]}" for n in range(8)]
    source = table(tmp_path, rows, "image,patient_id,Diagnose")
    assert run(("data", "split", source, "--valid", "0.25", "--test", "0", "--json")) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["table"] == str(tmp_path / "cases-split.csv")
    assert document["counts"] == {label: {"train": 3, "valid": 1, "test": 0} for label in ("melanoma", "nevus")}
    assert run(("data", "check", f"table:{document['table']}")) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("can be searched, but look at the warning above (1): ")
    assert run(("data", "split", source)) == 2
    assert "(a split is drawn once)" in capsys.readouterr().err
    assert run(("data", "split", source, "--out", str(tmp_path.parent / "elsewhere.csv"))) == 2
    assert "--out must lie beside cases.csv, from where its images are named" in capsys.readouterr().err
    assert run(("data", "split", f"derm7pt:{tmp_path}")) == 2
    assert "a split must be drawn for table:FILE" in capsys.readouterr().err


def test_a_column_of_split_names_is_offered_and_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = table(tmp_path, [*GOOD, "7.png,val,p7,nevus"][:8], "image,Gruppe,patient_id,diagnosis")
    (problem,) = problems_of(source, capsys)
    assert problem.startswith("the table must have a column 'split' (--split-column Gruppe takes that one)")
    assert run(("data", "check", source, "--split-column", "Gruppe")) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("--split-column Gruppe")
    problems = problems_of(source, capsys, "--split-column", "nobody")
    assert problems[0].startswith("--split-column must name columns of cases.csv; got 'nobody'")


def test_the_likely_diagnosis_is_in_the_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = table(tmp_path, [f"{row},{n % 2}" for n, row in enumerate(GOOD)], "image,split,patient_id,Diagnose,site")
    run(("data", "check", source))
    assert "--set primary_task=Diagnose (if that is the diagnosis)" in capsys.readouterr().out
