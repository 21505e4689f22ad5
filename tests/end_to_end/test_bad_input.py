"""A wrong request ends with exit 2 and one clear line, and leaves nothing half-written."""

import json
import re
import socket
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from search.cli.main import run
from trainables.data.derm7pt_synthetic import write
from trainables.seven_point import POINTS

OTHER_COLUMN = " (--group names another column; one that differs in every case has no groups)"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory whose path has a space."""
    place = tmp_path / "a folder"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def table(folder: Path, **changes: object) -> str:
    """A good table of 12 images, changed: column → values; None drops the column."""
    for index in range(12):
        Image.new("RGB", (96, 96), (20 * index, 100, 100)).save(folder / f"{index}.png")
    frame = pd.DataFrame(
        {
            "image": [f"{index}.png" for index in range(12)],
            "split": ["train"] * 8 + ["valid"] * 4,
            "diagnosis": ["melanoma", "nevus"] * 6,
        }
    )
    for column, values in changes.items():
        frame = frame.drop(columns=column) if values is None else frame.assign(**{column: values})
    frame.to_csv(folder / "cases.csv", index=False)
    return "table:cases.csv"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Runs a command that must be refused; gives its one line."""
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert not Path("runs").exists()
    return lines[0]


def search(*arguments: str) -> tuple[str, ...]:
    """A search of the gated task."""
    return ("search", "gated", "--set", "size_px=96", *arguments)


def test_a_missing_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert re.search(r"a folder/none, which does not exist", refused(capsys, *search("--data", "derm7pt:none")))


def test_a_table_without_split(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, *search("--data", table(folder, split=None)))
    assert "must have a column 'split' (--split-column COLUMN names another; `dermtune data split table:" in line


def test_an_unknown_label_string(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder / "set", 40, 96, 0)
    file = folder / "set" / "meta" / "meta.csv"
    meta = pd.read_csv(file)
    meta.loc[6, "streaks"] = "stripy"
    meta.to_csv(file, index=False)
    line = refused(capsys, *search("--data", "derm7pt:set"))
    assert "meta.csv line 8: streaks must be a string of the Derm7pt release; got 'stripy'" in line


def test_a_label_that_training_has_in_another_spelling(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, *search("--data", table(folder, diagnosis=["melanoma", "nevus"] * 5 + ["nevus", "Melanoma"])))
    assert "line 13: diagnosis must be spelt as in training, 'melanoma'; got 'Melanoma', which training has not" in line


def test_a_column_of_free_text(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = table(folder, comment=[f"seen {index}" for index in range(12)], day=[f"{index + 1}.3.2024" for index in range(12)])
    line = refused(capsys, *search("--data", data))
    assert (
        "column 'comment' must be labels: at most 50, and above 10 less than half as many as cases; got 12 values in 12" in line
    )
    assert "(--group comment if it says whose a case is; else --ignore comment,day leaves them out) (and 1 more: " in line
    assert run(("data", "check", data, "--ignore", "comment,day")) == 0
    ready = "ready: dermtune search gated --data table:cases.csv --ignore comment,day"
    assert capsys.readouterr().out.splitlines()[-1] == ready
    assert run(("data", "check", data, "--columns", "diagnosis", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == ready.replace("--ignore comment,day", "--columns diagnosis")


def test_a_primary_task_of_one_label(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = "the primary task, diagnosis, must have two labels or more in training; got nevus only, so that there is nothing"
    data = table(folder, diagnosis=["nevus"] * 12, veil=["yes", "no"] * 6)
    assert expected in refused(capsys, *search("--data", data))
    assert run(("data", "check", data)) == 2
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--ignore", "who"), "--ignore must name columns of cases.csv; got 'who' (there are image, split, diagnosis)"),
        (("--columns", "diagnosis, who"), "--columns must name columns of cases.csv; got 'who'"),
        (("--image", "who"), "--image must name columns of cases.csv; got 'who'"),
        (("--columns", "split"), "--columns must name columns that can be tasks; got 'split'"),
        (("--columns", "diagnosis", "--ignore", "diagnosis"), "--ignore must name no column that is used; got 'diagnosis'"),
    ],
)
def test_roles_of_columns_that_make_no_sense(
    folder: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], expected: str
) -> None:
    assert expected in refused(capsys, *search("--data", table(folder), *options))


def test_roles_beside_data_of_fixed_columns(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder / "set", 40, 96, 0)
    line = refused(capsys, *search("--data", "derm7pt:set", "--ignore", "sex"))
    assert "--ignore must stand beside table:FILE; got derm7pt, whose columns have fixed meanings" in line
    assert "--ignore must stand beside --data; got --ignore sex and no data" in refused(
        capsys, "search", "gated", "--ignore", "sex"
    )


def test_an_image_that_does_not_decode_is_named_with_its_row(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = table(folder)
    (folder / "3.png").write_bytes(b"no image")
    line = refused(capsys, *search("--data", data))
    assert re.search(r"line 5: .*3\.png must be an image that decodes", line)


def test_an_empty_split(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, *search("--data", table(folder, split="train")))
    assert "the split 'valid' must have at least one case" in line


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("gama_g=3", "did you mean 'gamma_g'?"),
        ("gamma_g=3000", "gamma_g must be a number in 0.3..30; got 3000.0"),
        ("gamma_g=three", "gamma_g must be a number in 0.3..30; got 'three'"),
        ("gates=ajar", "gates must be one of learned|off|open; got 'ajar'"),
        ("gamma_g", "--set must be FIELD=VALUE; got 'gamma_g'"),
        ("size_px=90", "size_px must be a whole number in 91..2048; got 90"),
        ("batch_size=32", "batch_size must be left out unless sampling=uniform"),
    ],
)
def test_a_setting_that_does_not_fit(folder: Path, capsys: pytest.CaptureFixture[str], setting: str, expected: str) -> None:
    assert expected in refused(capsys, *search("--data", table(folder), "--set", setting))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("search", "gated", "--data", "derm8pt:x"), "--data must be FORMAT:PATH with a format of derm7pt, table"),
        (("search", "gated", "--data", "cases.csv"), "--data must be FORMAT:PATH"),
        (("search", "bowl", "--data", "table:cases.csv"), "a format that fits the task (none: it needs no data)"),
        (("search", "gatd"), "did you mean 'gated'?"),
        (("search", "bowl", "--preset", "dmo"), "did you mean 'demo'?"),
        (("search", "bowl", "--sampler", "tp"), "did you mean 'tpe'?"),
        (("search", "bowl", "--scheduler", "ahsa"), "did you mean 'asha'?"),
        (("search", "bowl", "--metric", "valid/hight"), "did you mean 'valid/height'?"),
        (("search", "bowl", "--name", "../x"), "--name must be letters, digits"),
        (("search", "bowl", "--trials", "0"), "Invalid value for '--trials'"),
        (("search", "bowl", "--time-budget", "2 hours"), "for example 2h"),
        (("search", "bowl", "--gpus-per-trial", "1.5"), "--gpus-per-trial must be auto, a share of a GPU"),
        (("search", "bowl", "--bogus"), "No such option"),
        (("serch",), "No such command"),
        (("show", "none"), "NAME must be a search"),
        (("best", "none"), "NAME must be a search"),
        (("stop", "none"), "NAME must be a search"),
        (("delete", "none"), "NAME must be a search"),
        (("evaluate", "nowhere", "--data", "table:x.csv"), "a checkpoint must be a folder"),
        (("predict", "nowhere", "x.jpg"), "a checkpoint must be a folder"),
        (("data", "synth", "table", "out"), "'table' is not one of 'derm7pt', 'isic2017'"),
        (("data", "synth", "derm7pt", "out", "--cases", "3"), "must have 30 cases"),
        (("data", "check", "derm7pt:none"), "which does not exist"),
    ],
)
def test_a_request_that_makes_no_sense(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: str
) -> None:
    assert expected in refused(capsys, *arguments)


def test_a_primary_task_that_is_none(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, *search("--data", table(folder), "--set", "primary_task=diagnose"))
    assert "primary_task must be one of diagnosis; got 'diagnose'" in line


def test_a_table_that_does_not_say_which_task_is_the_diagnosis(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = table(folder, diagnosis=None, veil=["yes", "no"] * 6, streaks=["no", "yes"] * 6)
    assert "primary_task must be one of veil, streaks; got 'auto'" in refused(capsys, *search("--data", data))


def test_a_column_whose_metrics_would_be_those_of_melanoma(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, *search("--data", table(folder, melanoma=["yes", "no"] * 6)))
    assert "a task must not be called melanoma" in line


@pytest.mark.parametrize("column", ["criteria", "seven_point"])
def test_a_column_whose_metrics_would_be_those_of_the_checklist(
    folder: Path, capsys: pytest.CaptureFixture[str], column: str
) -> None:
    criteria = {name: ["ABS", scoring] * 6 for name, (scoring, _) in POINTS.items()}
    line = refused(capsys, *search("--data", table(folder, **criteria, **{column: ["yes", "no"] * 6})))
    assert f"a task must not be called {column}" in line


def test_an_image_in_two_splits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = table(folder, image=[f"{index % 11}.png" for index in range(12)])
    expected = "line 13: image 0.png must be in one split; got valid, and train on line 2"
    assert expected in refused(capsys, *search("--data", data))
    assert run(("data", "check", data)) == 2
    assert expected in capsys.readouterr().err


def test_a_patient_in_two_splits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = table(folder, patient_id=["p1", "p1", "p2", "", "", "p3", "p3", "p3", "p2", "p4", "p3", ""])
    expected = [
        "patient_id 'p2' must be in one split; got it in train (line 4) and in valid (line 10)" + OTHER_COLUMN,
        "patient_id 'p3' must be in one split; got it in train (line 7, line 8, line 9) and in valid (line 12)" + OTHER_COLUMN,
    ]
    assert f"{expected[0]} (and 1 more: `dermtune data check` lists all)" in refused(capsys, *search("--data", data))
    assert run(("data", "check", data)) == 2
    shown = capsys.readouterr()
    told = shown.err.splitlines()
    assert told[-2:] == [f"problem: {line}" for line in expected]
    assert shown.out.splitlines()[-1] == "2 problems must be mended before a search"
    assert told[0] == (
        "patient_id says whose a case is and is no label: 9 cases of 4 groups (and 3 cases without one); a group stays in one"
        " split and one fold, and intervals resample groups"
    )


def test_a_patient_in_two_splits_by_another_column(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = table(folder, **{"Patient #": ["a"] * 9 + ["b"] * 3, "patient_id": [f"p{index}" for index in range(12)]})
    expected = (
        "Patient # 'a' must be in one split; got it in train (line 2, line 3, line 4 and 5 more) and in valid (line 10)"
        + OTHER_COLUMN
    )
    assert expected in refused(capsys, *search("--data", data, "--group", "Patient #"))
    assert run(("data", "check", data, "--group", "Patient #")) == 2
    assert expected in capsys.readouterr().err
    assert expected in refused(capsys, "reproduce", "gated", "--data", data, "--group", "Patient #", "--set", "size_px=96")


def test_one_picture_under_two_names_in_two_splits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = table(folder)
    (folder / "11.png").write_bytes((folder / "0.png").read_bytes())
    (folder / "2.png").unlink()
    (folder / "2.png").symlink_to("9.png")
    expected = [
        "line 11: image 9.png must be in one split; got valid, and train on line 4",
        "line 13: image 11.png must not be in valid; got the very picture of 0.png (line 2), in train",
    ]
    assert f"{expected[0]} (and 1 more: `dermtune data check` lists all)" in refused(capsys, *search("--data", data))
    assert run(("data", "check", data)) == 2
    shown = capsys.readouterr()
    told = shown.err.splitlines()
    assert told[-2:] == [f"problem: {line}" for line in expected]
    assert shown.out.splitlines()[-1] == "2 problems must be mended before a search"


def test_pictures_that_look_alike_are_listed_and_no_problem(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = table(folder)
    Image.effect_mandelbrot((96, 96), (-2, -1.5, 1, 1.5), 30).save(folder / "3.png")
    Image.open(folder / "3.png").resize((80, 80)).save(folder / "8.png")
    assert run(("data", "check", data, "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    (line,) = found["twins"]
    assert line.startswith("image 8.png (line 10) in valid looks like its twin 3.png (line 5) in train (")
    assert found["problems"] == []
    assert run(("data", "check", data)) == 0
    assert line in capsys.readouterr().err


def test_groups_that_stratification_cannot_balance(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All melanomas are of one patient, so that whichever fold validates on her has none to learn from."""
    data = table(
        folder,
        diagnosis=["melanoma", "nevus"] * 4 + ["nevus"] * 4,
        patient_id=["p0" if index in (0, 2, 4, 6) else f"p{index}" for index in range(12)],
    )
    found = {}
    for fold in ("1/2", "2/2"):
        assert run(("data", "check", f"{data}#fold={fold}", "--json")) == 0
        document = json.loads(capsys.readouterr().out)
        found[document["counts"]["valid"]["diagnosis"]["melanoma"]] = fold[0], [*document["notes"][1:2], *document["warnings"]]
    uneven = (
        "of 2 is uneven, since groups stay together: it validates on {} of the 4 cases of diagnosis melanoma, where 2.0 would be"
    )
    with_her, without_her = found[4], found[0]
    assert with_her[1] == [
        f"fold {with_her[0]} {uneven.format(4)} even",
        "diagnosis: class melanoma is in validation (4 cases) but not in training: the model cannot learn it, so recall of it"
        " stays 0 and is part of the mean",
        "diagnosis: training has no other label than nevus (4 cases): there is nothing to tell apart, and the model says nevus of"
        " every case",
    ]
    assert without_her[1] == [
        f"fold {without_her[0]} {uneven.format(0)} even",
        "diagnosis: validation has no other label than nevus (4 cases): it has no AUROC there and is no part of its mean, and"
        " accuracy is the share of cases called nevus",
    ]


def test_a_group_that_is_no_column(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, *search("--data", table(folder), "--group", "who"))
    assert "--group must name a column of cases.csv that says whose each case is; got 'who'" in line
    assert "--group must stand beside --data" in refused(capsys, "search", "gated", "--group", "who")


def test_a_table_as_excel_writes_it_is_read_and_every_guess_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(folder)
    rows = [
        f".\\{index}.png;{'Train' if index < 8 else 'VAL'};{('melanoma', 'nevus')[index % 2]} ;"
        f"{('größer', 'NA', 'klein', 'größer')[index % 4]};{index % 3},5"
        for index in range(12)
    ]
    (folder / "excel.csv").write_bytes("\r\n".join(["Image;Split;diagnosis;Größe;mm", *rows, ";;;;", ""]).encode("latin-1"))
    assert run(("data", "check", "table:excel.csv", "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["counts"]["train"] == {
        "diagnosis": {"melanoma": 4, "nevus": 4},
        "Größe": {"größer": 4, "klein": 2, "(missing)": 2},
        "mm": {"0,5": 3, "1,5": 3, "2,5": 2},
    }
    *notes, sure = found["notes"]
    assert sure.startswith("diagnosis: an AUROC of 0.85 is known to ±0.44 on the validation split (4 cases, 2 of them melanoma):")
    assert notes == [
        "excel.csv is no UTF-8, and is read as Windows-1252 (Latin-1)",
        "excel.csv is read as a table with semicolons between columns",
        "column Image is read as image",
        "column Split is read as split",
        "spelled out gaps are read as missing labels in Größe ('NA', 3)",
        "split: Train as train; VAL as valid",
        f"image names that are no paths as they stand are looked up in {folder} (12: .\\0.png is read as 0.png)",
    ]
    assert found["problems"] == []


def test_a_port_that_is_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "must be free to bind" in refused(capsys, "ui", "--port", str(taken.getsockname()[1]))


def test_a_place_below_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "file").write_text("")
    assert "Not a directory" in refused(capsys, "data", "synth", "derm7pt", "file/set", "--cases", "30", "--size", "32")


def test_a_name_that_is_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "store" / "mine").mkdir(parents=True)
    line = refused(capsys, "search", "bowl", "--storage", "store", "--name", "mine")
    assert "which is taken" in line
    assert list((folder / "store" / "mine").iterdir()) == []


def test_check_lists_every_problem_with_its_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = table(folder, split=["train"] * 7 + ["tran"] + ["valid"] * 4, diagnosis=["melanoma", "nevus"] * 5 + ["nevus", "wart"])
    (folder / "2.png").unlink()
    assert run(("data", "check", data)) == 2
    shown = capsys.readouterr()
    for expected in ("line 9: split must be train, valid, test; got 'tran'", "line 4: image"):
        assert expected in shown.err
    assert "2 problems must be mended" in shown.out
