"""The small records beside the ledger: readings of the test split, Tune's account, failures, learning curves."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from bowl_events import begun, config_of, epoch_of, event, plan_of, reported, table_of

from search.records.curves import curves_frame, trials_frame, write_curves
from search.records.failure import failure_trace, write_failure
from search.records.readings import record_reading
from search.records.trials import TrialTable
from search.records.tune_record import LOST, RUNNING, TERMINATED, TuneRecord, mark_lost, statuses


def test_readings_are_counted_for_each_source(tmp_path: Path) -> None:
    storage = tmp_path / "not yet" / "runs"
    counts = [record_reading(storage, "ab", source) for source in ("derm7pt:/a", "derm7pt:/b", "derm7pt:/a", "derm7pt:/a")]
    assert counts == [1, 1, 2, 3]
    lines = [json.loads(line) for line in (storage / "test_readings.jsonl").read_text().splitlines()]
    assert [(line["checkpoint"], line["source"]) for line in lines[:2]] == [("ab", "derm7pt:/a"), ("ab", "derm7pt:/b")]
    written = datetime.fromisoformat(lines[0]["time"])
    assert timedelta(0) <= datetime.now(UTC) - written < timedelta(minutes=5)
    assert written.microsecond == 0


def test_a_test_split_is_the_same_whatever_column_says_whose_its_cases_are(tmp_path: Path) -> None:
    sources = ("table:/a.csv", "table:/a.csv#group=patient_id", "table:/a.csv#group=lesion", "table:/b.csv#group=lesion")
    assert [record_reading(tmp_path, "ab", source) for source in sources] == [1, 2, 3, 1]


def test_the_last_status_of_each_trial_counts_and_damaged_lines_do_not(tmp_path: Path) -> None:
    file = tmp_path / "tune.jsonl"
    assert statuses(file) == {}
    record = TuneRecord(file)
    record.write("t0", RUNNING)
    record.write("t1", RUNNING)
    record.close()
    with file.open("ab") as lines:
        lines.write(b'{"trial": "t1", "sta\n')
    record = TuneRecord(file)
    record.write("t0", TERMINATED)
    assert statuses(file) == {"t0": TERMINATED, "t1": RUNNING}, "it is in the file as soon as it is written"
    record.close()


@pytest.mark.parametrize("cut", [0, 5])
def test_trials_lost_with_their_driver_are_marked_on_lines_of_their_own(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "tune.jsonl"
    record = TuneRecord(file)
    for trial in ("t0", "t1", "t2"):
        record.write(trial, RUNNING)
    record.close()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) - cut])
    mark_lost(file, ["t0", "t1"])
    assert statuses(file) == {"t0": LOST, "t1": LOST} | ({} if cut else {"t2": RUNNING})
    assert b"\n\n" not in file.read_bytes()


def test_a_record_that_is_not_there_is_made_to_mark_the_lost(tmp_path: Path) -> None:
    mark_lost(tmp_path / "tune.jsonl", ["t0"])
    assert statuses(tmp_path / "tune.jsonl") == {"t0": LOST}


def test_a_trials_last_failure_is_kept_with_its_trace(tmp_path: Path) -> None:
    folder = tmp_path / "trials" / "t0000"
    assert failure_trace(folder) is None
    for reason in ("RuntimeError: first", "RuntimeError: second"):
        write_failure(folder, reason, f"Traceback of\n{reason}")
    assert failure_trace(folder) == "Traceback of\nRuntimeError: second"
    text = (folder / "failure.json").read_text()
    assert text == '{\n "reason": "RuntimeError: second",\n "traceback": "Traceback of\\nRuntimeError: second"\n}\n'


@pytest.fixture
def table() -> TrialTable:
    """Two trials that have validated, the second the better, one that failed and one that has only begun."""
    plan = plan_of()
    events = [
        *begun("t0", 1.0, x=0.5),
        *begun("t1", 1.0, shape="tilted", tilt=0.25),
        *begun("t2", 1.0),
        *begun("t3", 1.0),
        reported("t0", 2.0, epoch_of(1, 4.0, 4.0, True), epoch_of(2, 5.0, 4.5, False, seconds=3.0)),
        reported("t1", 3.0, epoch_of(1, 2.0, 2.0, True, gain=7.0)),
        event("finished", 4.0, trial="t0", reason="max_epochs"),
        event("failed", 5.0, trial="t2", reason="RuntimeError: it broke"),
    ]
    return table_of(plan, events)


def test_curves_have_a_row_for_each_epoch_and_no_column_for_what_is_inactive(table: TrialTable) -> None:
    frame = curves_frame(table)
    assert frame["trial"].tolist() == ["t0", "t0", "t1"]
    assert frame["epoch"].tolist() == [1, 2, 1]
    assert frame["score"].tolist() == [4.0, 4.5, 2.0]
    assert frame["seconds"].tolist() == [2.0, 3.0, 2.0]
    assert frame["is_best"].tolist() == [True, False, True]
    assert frame["valid/height"].tolist() == [4.0, 5.0, 2.0]
    assert frame["valid/gain"].fillna(-1.0).tolist() == [-1.0, -1.0, 7.0]
    assert frame["config/tilt"].fillna(-1.0).tolist() == [-1.0, -1.0, 0.25]
    assert frame["config/x"].tolist() == [0.5, 0.5, config_of()["x"]]


def test_the_leaderboard_has_a_row_for_each_trial_best_first(table: TrialTable) -> None:
    rows = trials_frame(table).set_index("trial")
    assert rows.index.tolist() == ["t1", "t0", "t2", "t3"]
    assert rows["state"].tolist() == ["running", "finished", "failed", "running"]
    assert rows.loc["t0", ["reason", "value", "score", "epoch", "epochs", "seconds"]].tolist() == ["max_epochs", 4, 4, 1, 2, 5]
    assert rows.loc["t2", "reason"] == "RuntimeError: it broke"
    assert rows["tilt"].fillna(-1.0).tolist() == [0.25, -1.0, -1.0, -1.0]
    assert rows.loc["t0", "x"] == 0.5


def test_written_curves_are_read_back_as_they_were(table: TrialTable, tmp_path: Path) -> None:
    write_curves(table, tmp_path / "curves.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "curves.parquet"), curves_frame(table))
    assert [path.name for path in tmp_path.iterdir()] == ["curves.parquet"]


def test_a_search_without_an_epoch_leaves_no_curves(tmp_path: Path) -> None:
    write_curves(table_of(plan_of(), begun("t0", 1.0)), tmp_path / "curves.parquet")
    assert list(tmp_path.iterdir()) == []


def test_written_curves_have_no_column_for_the_row_numbers(table: TrialTable, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    write_curves(table, tmp_path / "curves.parquet")
    schema = pq.read_schema(tmp_path / "curves.parquet")
    assert schema.names == curves_frame(table).columns.tolist()
    assert schema.pandas_metadata["index_columns"] == []
