"""The attentive task through the command line: making and checking data, refusing, and one tiny search."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from recorded import NUM_TRIALS

import trainables.attentive.task  # noqa: F401  torch takes seconds to import, which no test's time limit should pay
from search.cli.main import run
from spaces.attentive import AttentiveSpace
from spaces.fields import fields_of
from trainables.data.isic2017_synthetic import write

SMALL = ("--set", "encoder_weights=none", "--set", "width=0.125", "--set", "crop_from_px=36", "--set", "size_px=32")
TRAINING = "ISIC-2017_Training"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory whose path has a space."""
    place = tmp_path / "a folder"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def drawn(folder: Path) -> Path:
    """40 cases of 32 px, `isic2017:a set` for a command."""
    write(folder / "a set", 40, 32, 11)
    return folder / "a set"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Runs a command that must be refused; gives its one line."""
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert not Path("runs").exists()
    return lines[0]


def checked(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The problems that `data check` finds, a line each; they are the same in JSON."""
    assert run(("data", "check", "isic2017:a set")) == 2
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert "Traceback" not in captured.err
    problems = [line.removeprefix("problem: ") for line in lines if line.startswith("problem: ")]
    must = "problem must" if len(problems) == 1 else "problems must"
    assert captured.out.splitlines()[-1] == f"{len(problems)} {must} be mended before a search"
    assert run(("data", "check", "isic2017:a set", "--json")) == 2
    assert json.loads(capsys.readouterr().out)["problems"] == problems
    return problems


def cases_of(drawn: Path) -> list[str]:
    """Names of the training cases."""
    return sorted(image.stem for image in (drawn / f"{TRAINING}_Data").glob("*.jpg"))


def test_a_set_is_drawn_and_checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(("data", "synth", "isic2017", "a set", "--cases", "40", "--size", "32", "--seed", "3")) == 0
    out = capsys.readouterr().out
    assert "40 cases in a set" in out
    assert "next: dermtune search attentive --data 'isic2017:a set'" in out
    assert run(("data", "check", "isic2017:a set")) == 0
    shown = capsys.readouterr()
    assert [line.partition(":")[0] for line in shown.err.splitlines()] == ["melanoma", "warning"]
    assert shown.out.splitlines()[-1].startswith("can be searched, but look at the warning above (1): dermtune search attentive")
    assert re.search(r"pigment_network +│ +present", shown.out)
    assert run(("data", "check", "isic2017:a set", "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == []
    assert {split: sum(tasks["melanoma"].values()) for split, tasks in found["counts"].items()} == {
        "train": 24,
        "valid": 10,
        "test": 6,
    }


def test_a_set_is_not_drawn_over_another(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "OUT must be an empty or missing folder; got a set" in refused(capsys, "data", "synth", "isic2017", "a set")
    assert "must have 30 cases" in refused(capsys, "data", "synth", "isic2017", "other", "--cases", "3")


def test_unknown_attributes_are_counted_and_no_problem(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = cases_of(drawn)[0]
    (drawn / f"{TRAINING}_Part2_GroundTruth" / f"{case}_features.json").unlink()
    assert run(("data", "check", "isic2017:a set", "--json")) == 0
    counts = json.loads(capsys.readouterr().out)["counts"]
    assert counts["train"]["streaks"]["(unknown)"] == 1
    assert "(unknown)" not in counts["valid"]["streaks"]
    assert run(("data", "check", "isic2017:a set")) == 0
    assert "(unknown)" in capsys.readouterr().out


def test_check_lists_every_problem_of_the_tables_by_its_case(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = cases_of(drawn)
    features, table = drawn / f"{TRAINING}_Part2_GroundTruth", drawn / f"{TRAINING}_Part3_GroundTruth.csv"
    (features / f"{cases[0]}_features.json").write_text("{no json")
    (features / f"{cases[1]}_features.json").write_text('{"streaks": [0, 1]}')
    (drawn / f"{TRAINING}_Part1_GroundTruth" / f"{cases[2]}_segmentation.png").unlink()
    table.write_text("".join(line for line in table.read_text().splitlines(keepends=True) if not line.startswith(cases[3])))
    problems = checked(capsys)
    assert sorted(problem.split(":")[0] for problem in problems) == sorted(cases[:4])


def test_check_lists_every_problem_of_the_files_by_its_case(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = cases_of(drawn)
    (drawn / f"{TRAINING}_Part1_GroundTruth" / f"{cases[0]}_segmentation.png").write_bytes(b"no image")
    lists = {name: [0, 1] for name in ("pigment_network", "negative_network", "milia_like_cyst", "streaks")}
    (drawn / f"{TRAINING}_Part2_GroundTruth" / f"{cases[1]}_features.json").write_text(json.dumps(lists))
    superpixels = drawn / f"{TRAINING}_Data" / f"{cases[2]}_superpixels.png"
    superpixels.write_bytes(superpixels.read_bytes()[:60])
    (drawn / f"{TRAINING}_Data" / f"{cases[3]}.jpg").write_bytes(b"no image")
    problems = checked(capsys)
    assert len(problems) == 4
    for case, problem in zip(cases, problems, strict=False):
        assert problem.startswith(f"{case}: "), problem


def test_check_tells_a_folder_that_is_something_else(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a set").mkdir()
    problems = checked(capsys)
    assert [re.search(r"must hold (\S+);", problem)[1] for problem in problems] == [  # type: ignore[index]
        "ISIC-2017_Training_Data",
        "ISIC-2017_Validation_Data",
    ]


def test_the_space_lists_every_field_with_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(("space", "attentive", "--json")) == 0
    rows = {row["field"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == set(fields_of(AttentiveSpace))
    assert (rows["diagnosis_weight"]["default"], rows["diagnosis_weight"]["when"]) == (0.25, {"decoder": [True]})
    assert rows["encoder_weights"]["range"] == "none|imagenet|FILE"
    assert rows["batch_norm"]["without"] == {"frozen_statistics": {"encoder_weights": ["none"]}}
    assert rows["diagnosis_weight"]["without"] == {}
    assert all(row["source"] and row["doc"] for row in rows.values())
    assert run(("space", "attentive")) == 0
    shown = capsys.readouterr().out
    for name in rows:
        assert re.search(rf"^  {name}  ", shown, re.MULTILINE), name
    assert "default frozen, frozen_statistics not searched when encoder_weights=none" in shown.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--data", "isic2017:none"), "a folder with ISIC-2017_Training_Data and its like; got "),
        (("--data", "isic2017:empty"), "must hold ISIC-2017_Training_Data; got none in "),
        (("--data", "table:cases.csv"), "--data must have a format that fits the task (isic2017); got 'table'"),
        (("--data", "derm7pt:empty"), "--data must have a format that fits the task (isic2017); got 'derm7pt'"),
        (("--data", "isic2017:a set", "--set", "encoder_weights=missing.pt"), "encoder_weights must be none, imagenet or a file"),
        (("--data", "isic2017:a set", "--set", "size_px=40"), "size_px must be crop_from_px (36) or less; got 40"),
        (("--data", "isic2017:a set", "--set", "size_px=33"), "size_px must be a multiple of 8, 32 or more"),
        (("--data", "isic2017:a set", "--set", "width=0.3"), "width must be one of 0.125|0.25|0.5|1"),
        (("--data", "isic2017:a set", "--set", "attention=false", "--set", "timesteps=4"), "timesteps must be left out unless"),
        (("--data", "isic2017:a set", "--metric", "valid/lesion/io"), "did you mean 'valid/lesion/iou'?"),
        (("--data", "isic2017:a set", "--metric", "valid/loss"), "valid/loss"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(
    drawn: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], expected: str
) -> None:
    Path("empty").mkdir()
    Path("cases.csv").write_text("image,split,diagnosis\n")
    given = {text.partition("=")[0] for text in arguments}
    fixed = [part for part in zip(SMALL[::2], SMALL[1::2], strict=True) if part[1].partition("=")[0] not in given]
    line = refused(capsys, "search", "attentive", *(text for part in fixed for text in part), *arguments)
    assert expected in line


@pytest.mark.parametrize("contents", [b"", b"no weights", b"PK\x03\x04broken"])
def test_a_file_that_holds_no_weights_is_refused(drawn: Path, capsys: pytest.CaptureFixture[str], contents: bytes) -> None:
    Path("weights.pt").write_bytes(contents)
    line = refused(capsys, "search", "attentive", "--data", "isic2017:a set", *SMALL[2:], "--set", "encoder_weights=weights.pt")
    assert re.search(r"encoder_weights must be a file that torch.save or safetensors wrote; got .*weights\.pt", line)


def test_bad_data_are_refused_by_their_case(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = cases_of(drawn)
    file = drawn / f"{TRAINING}_Part1_GroundTruth" / f"{cases[5]}_segmentation.png"
    file.write_bytes(b"no image")
    line = refused(capsys, "search", "attentive", "--data", "isic2017:a set", *SMALL)
    assert line.startswith(cases[5]) or f" {cases[5]}: " in line
    file.unlink()
    assert f"{cases[5]}: the lesion mask" in refused(capsys, "search", "attentive", "--data", "isic2017:a set", *SMALL)


def test_a_missing_part_is_refused(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(drawn / "ISIC-2017_Validation_Data")
    line = refused(capsys, "search", "attentive", "--data", "isic2017:a set", *SMALL)
    assert "must hold ISIC-2017_Validation_Data; got none" in line


def test_other_tasks_do_not_take_the_set(drawn: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "search", "gated", "--data", "isic2017:a set")
    assert "--data must have a format that fits the task (derm7pt, table); got 'isic2017'" in line


@pytest.mark.slow
def test_a_tiny_search_for_two_objectives(recorded: Any, tmp_path: Path) -> None:
    searched = recorded("attentive")
    data, found, here = searched.data, searched.json, searched.copy(tmp_path)
    metrics = ("valid/melanoma/auroc", "valid/structures/iou_mean")
    assert (found["metrics"], found["modes"], found["num_failed"]) == (list(metrics), ["max", "max"], 0)
    assert found["num_trials"] == int(NUM_TRIALS)
    assert found["pareto"]
    shown = here.run("show", "small", "--json").json["trials"]
    assert len(shown) == int(NUM_TRIALS)
    log = here.run("show", "small", "--trial", found["best_trial"], "--json").json
    assert all(set(metrics) <= set(epoch["metrics"]) for epoch in log["log"])
    assert not any("test/" in name for epoch in log["log"] for name in epoch["metrics"])
    (best,) = here.run("best", "small", "--out", "the winner", "--json").json
    assert (best["trial"], best["value"], best["epoch"]) == (found["best_trial"], found["best_value"], found["best_epoch"])
    document = json.loads((Path(best["checkpoint"]) / "config.json").read_text())
    assert document["config"] == best["config"]
    evaluated = here.run("evaluate", best["checkpoint"], "--data", data, "--json")
    assert evaluated.status == 0, evaluated.err
    evaluation = evaluated.json
    assert evaluation["metrics"][metrics[0]] == best["value"]
    assert evaluation["metrics"] == {name: value for name, value in document["metrics"].items() if not name.endswith("/loss")}
    assert (evaluation["num_cases"], evaluation["task"]) == (15, "attentive")
    assert len(evaluation["structures_classes"]) == 6
    assert sum(map(sum, evaluation["structures"]["confusion"])) == 15 * document["config"]["timesteps"]
    images = sorted((searched.folder / "a set" / "ISIC-2017_Validation_Data").glob("*.jpg"))[:2]
    predictions = here.run("predict", best["checkpoint"], *map(str, images), "--json").json
    assert [one["image"] for one in predictions] == [str(image) for image in images]
    for one in predictions:
        assert sum(one["probabilities"]["melanoma"].values()) == pytest.approx(1)
        assert len(one["gazes"]) == document["config"]["timesteps"]
    for command in (("show", "small"), ("best", "small"), ("evaluate", best["checkpoint"], "--data", data)):
        assert here.run(*command).status == 0
    assert here.run("predict", best["checkpoint"], str(images[0])).status == 0
