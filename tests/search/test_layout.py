"""Tables at every width: a number is whole or not there at all, and nothing is left out."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bowl_events import begun, epoch_result, event_of, plan_of
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from search.analysis.dry_run import Estimate
from search.analysis.verdict import Standing, Verdict
from search.cli import data, tables
from search.cli.layout import laid_out, numbers, wrapped
from search.cli.main import run
from search.cli.options import out
from search.records.folder import SearchFolder
from search.records.ledger import Ledger
from spaces.fields import complete, fields_of
from spaces.gated import GatedSpace
from trainables.contract import Objective
from trainables.evaluation import Confusions, Evaluation

WIDTHS = (20, 40, 60, 80, 120, 200)
STRUCTURES = ("lesion", "skin", "globules", "milia_like_cyst", "negative_network", "pigment_network", "streaks")
TASKS = ("DIAG", "PN", "STR", "PIG", "RS", "DaG", "BWV", "VS")


def printed(title: str, headings: list[str], rows: list[list[str]], width: int) -> list[str]:
    """The lines of a table."""
    console = Console(width=width, color_system=None, soft_wrap=True)
    with console.capture() as captured:
        console.print(laid_out(title, headings, rows, width))
    return captured.get().splitlines()


TEXT = st.one_of(
    st.floats(-1e6, 1e6).map(lambda value: f"{value:.4f}"),
    st.integers(0, 10**9).map(str),
    st.text("abcXYZ_/ .:0123456789-", max_size=40),
    st.just("RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB"),
)


@settings(max_examples=60)
@given(st.data(), st.sampled_from(WIDTHS), st.integers(1, 12), st.integers(0, 4))
def test_every_number_is_whole_and_no_line_too_long(draw: st.DataObject, width: int, columns: int, rows: int) -> None:
    headings = draw.draw(st.lists(TEXT, min_size=columns, max_size=columns))
    cells = draw.draw(st.lists(st.lists(TEXT, min_size=columns, max_size=columns), min_size=rows, max_size=rows))
    lines = printed("a title of 12 words", headings, cells, width)
    assert all(cell_len(line) <= width for line in lines), lines
    given_numbers = Counter(number for row in cells for text in row for number in numbers(text) if len(number) <= width)
    assert not given_numbers - Counter(number for line in lines for number in numbers(line))


def test_what_fits_is_a_table_with_rules_and_what_does_not_is_split_beside_the_names() -> None:
    headings, rows = ["trial", "score", "why"], [["t0000", "0.1234", "rung 3"], ["t0001", "–", "max_epochs"]]
    assert printed("", headings, rows, 80)[3] == "│ t0000 │ 0.1234 │ rung 3     │"
    assert printed("", headings, rows, 20)[2:] == [
        *["t0000 0.1234", "t0001      –", "", "trial why       ", "────────────────"],
        *["t0000 rung 3    ", "t0001 max_epochs"],
    ]
    assert printed("", headings, rows, 14)[:4] == ["trial: t0000", "score: 0.1234", "why: rung 3", ""]


def test_headings_are_broken_at_their_joints_before_a_table_is_split() -> None:
    lines = printed("", ["", *STRUCTURES], [[name, *["36"] * 7] for name in STRUCTURES], 80)
    assert max(map(len, lines)) <= 80
    assert sum(line.count("36") for line in lines) == 49
    assert any("pigment_" in line for line in lines)
    assert len(lines) < 16, "one part"


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("valid/structures/map", 11, ["valid/", "structures/", "map"]),
        ("took 12.345678 s", 9, ["took", "12.345678", "s"]),
        ("x=-1.5e-05,y=2", 8, ["x=", "-1.5e-05", ",y=2"]),
        ("one\n\ntwo", 5, ["one", "", "two"]),
        ("  indented text", 11, ["  indented", "text"]),
        ("", 5, [""]),
    ],
)
def test_texts_are_wrapped_between_words_and_never_within_numbers(text: str, width: int, lines: list[str]) -> None:
    assert wrapped(text, width) == lines


def attentive_evaluation() -> None:
    """What `evaluate` shows of a checkpoint: six structures and skin."""
    matrix = np.random.default_rng(0).integers(0, 5000, (7, 7)).tolist()
    metrics = {f"valid/{name}/iou": 0.1234 + i / 10 for i, name in enumerate(STRUCTURES)} | {"valid/loss": 1234.5678}
    found = Evaluation(
        "valid",
        150,
        metrics,
        {name: [value - 0.1, value + 0.1] for name, value in metrics.items()},
        {"structure_confusion": Confusions(STRUCTURES, {"first_gaze": matrix, "all_gazes": matrix})},
    )
    tables.show_evaluation(Path("/somewhere/with 7 parts/winner/t0012"), found)


def gated_counts() -> None:
    """What `data check` shows of eight tasks."""
    labels = {task: {f"label {i} of {task}": 123 + i for i in range(4)} for task in TASKS}
    data._show_counts("derm7pt:/a/long/path/of/2026/release_v0", {"train": labels, "valid": labels, "test": labels})


def confirmation() -> None:
    rows = [
        Standing(f"t{i:04d}", 12, 0.91234, (0.9,), 0.89123, (0.85123, 0.92123), -0.01234 * i or None, (-0.04123, 0.01123), None)
        for i in range(5)
    ]
    verdict = Verdict(
        "mine", "mine-confirm", "gated", "valid/auroc_mean", "max", None, 3, 5, tuple(rows), "t0000", "t0003", 0.0123
    )
    tables.show_confirmation(verdict, Path("/a/page.html"))


def estimate() -> None:
    tables.show_estimate(plan_of(num_trials=1234), Estimate(1.2345, 16.2, 12.3, 123.4, 234.5, 12345.6, 16))


def reproduction() -> None:
    one = {"mean": 0.7421, "interval": [0.6912, 0.7934], "paper": 0.731}
    rows = [{"experiment": f"skips-{n}", "metrics": dict.fromkeys(("melanoma/auroc", "structures/map"), one)} for n in range(17)]
    document = {
        "experiments": rows,
        "name": "r",
        "task": "attentive",
        "split": "test",
        "source": "isic2017:x",
        "num_seeds": 3,
        "other_data": None,
    }
    tables.show_reproduction({**document, "note": "one"}, Path("page"))


def others() -> None:
    """The tables of `list`, `jobs`, `doctor` and `replay`, as these commands fill them."""
    listed = ("gated-20261129-105522", "attentive", "interrupted", "1234", "0.8123", "valid/melanoma/auroc", "12 h 10 min")
    tables.show_rows("/storage/2026", ("name", "task", "state", "trials", "best", "metric", "time"), [listed])
    job = (
        "job-first-3f2a",
        "SUCCEEDED",
        "2026-11-29 10:54:01",
        "2026-11-29 12:54:01",
        "dermtune search gated --trials 40 --seed 7",
    )
    tables.show_rows("", ("job", "status", "started", "ended", "command"), [job])
    check = ("disk", "FAILED", "/tmp/a/b/c/d/e/f/g/h has 12.3 GiB free of 512.0 GiB, and a search takes 1.9 GiB for 4 trials")
    tables.show_rows("", ("what", "", "found"), [check])
    replayed = ("tpe + asha(3)", "0.1234", "0.1203 ± 0.0123", "0.0123", "112", "3 h 12 min")
    tables.show_rows("mine: of 10 runs", ("strategy", "at 1/4", "at 1/2 (95 %)", "at its end", "epochs", "time"), [replayed])


SHOWN: list[Callable[[], None]] = [attentive_evaluation, gated_counts, confirmation, estimate, reproduction, others]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("show", SHOWN)
def test_every_table_keeps_its_numbers(
    show: Callable[[], None], width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = follow(monkeypatch, width)
    show()
    said = Counter(numbers(capsys.readouterr().out))
    assert expected
    assert not expected - said


def follow(monkeypatch: pytest.MonkeyPatch, width: int) -> Counter[str]:
    """Sets the width of stdout; counts the numbers of what is laid out from here on."""
    found: Counter[str] = Counter()

    def counting(title: str, headings: Any, rows: Any, width: int) -> Any:
        found.update(number for text in (title, *(cell for row in rows for cell in row)) for number in numbers(text))
        return laid_out(title, headings, rows, width)

    monkeypatch.setattr(tables, "laid_out", counting)
    monkeypatch.setattr(out, "_width", width)
    return found


@pytest.mark.parametrize("width", WIDTHS)
def test_show_list_and_best_of_several_metrics_keep_their_numbers(
    tmp_path: Path, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_of(name="two", further_objectives=(Objective("valid/structures/map", "max"), Objective("valid/recall", "max")))
    folder = SearchFolder(tmp_path, plan.name)
    folder.create(plan).release()
    with Ledger(folder.ledger_file) as ledger:
        for number in range(4):
            for told in begun(f"t{number:04d}", number, x=number / 8):
                ledger.append(told)
            metrics = {"valid/height": 3.25 - number, "valid/structures/map": 0.2051 + number, "valid/recall": 0.1417}
            epoch = epoch_result(epoch=1, metrics=metrics, score=3.25 - number, seconds=754.0, is_best=True, window=1)
            ledger.append(event_of("reported", trial=f"t{number:04d}", epochs=[epoch]))
            ledger.append(event_of("stopped", trial=f"t{number:04d}", reason="rung 1"))
    for command in (("show", "two"), ("list",), ("show", "two", "t0002")):
        expected = follow(monkeypatch, width)
        assert run((*command, "--storage", str(tmp_path))) == 0
        text = capsys.readouterr().out
        assert not expected - Counter(numbers(text))
        assert ("stopped" in text) or command == ("list",)


def test_a_field_without_effect_is_not_used(capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the paper's value stood a dash, which said neither why nor that it was meant."""
    config = complete(GatedSpace, {"gates": "off"})
    unused = [name for name, value in config.items() if value is None]
    assert unused
    tables.show_config("gated", config)
    shown = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if len(line.split()) > 3}
    fields = fields_of(GatedSpace)
    assert all("not used" in shown[name] for name in unused if fields[name].searched)
    assert sum("not used" in line for line in shown.values()) == sum(fields[name].searched for name in unused) > 0
