"""The small records beside the ledger: readings of the test split, Tune's account, failures, learning curves."""

import errno
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from bowl_events import begun, config_of, epoch_of, event_of, plan_of, reported, state_after
from small_tables import checkpoint_of, table_source

from search.records import disk_space, failure
from search.records.curves import curves_frame, trials_frame, write_curves
from search.records.failure import failure_trace, write_failure
from search.records.split_readings import num_readings, record_reading
from search.records.state import SearchState
from search.records.tune_record import LOST, RUNNING, TERMINATED, TuneRecord, mark_lost, statuses
from trainables.data import read
from trainables.errors import DataError
from trainables.folders import digest, write_file


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return checkpoint_of(tmp_path / "checkpoint", {"diagnosis": ("melanoma", "nevus")})


def test_readings_are_counted_for_each_test_split(tmp_path: Path, checkpoint: Path) -> None:
    storage = tmp_path / "not yet" / "runs"
    a, b = table_source(tmp_path / "a.csv", range(4)), table_source(tmp_path / "b.csv", range(4, 8))
    assert num_readings(storage, a) == 0
    assert [record_reading(storage, checkpoint, source) for source in (a, b, a, a)] == [1, 1, 2, 3]
    assert [num_readings(storage, source) for source in (a, b)] == [3, 1], "looking is no reading"
    lines = [json.loads(line) for line in (storage / "test_readings.jsonl").read_text().splitlines()]
    assert [(line["checkpoint"], line["source"]) for line in lines[:2]] == [(digest(checkpoint), a), (digest(checkpoint), b)]
    written = datetime.fromisoformat(lines[0]["time"])
    assert timedelta(0) <= datetime.now(UTC) - written < timedelta(minutes=5)
    assert written.microsecond == 0


def test_a_test_split_is_the_same_whatever_file_names_it_and_wherever_it_lies(tmp_path: Path, checkpoint: Path) -> None:
    """A renamed table or a copy of the folder began to count at 1 again."""
    source = table_source(tmp_path / "here" / "cases.csv", range(4))
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    (tmp_path / "here" / "renamed.csv").write_bytes((tmp_path / "here" / "cases.csv").read_bytes())
    fewer = table_source(tmp_path / "here" / "fewer.csv", range(3, 4))
    with_another_table = table_source(tmp_path / "more" / "cases.csv", range(3, 9))
    sources = (source, f"{source}#group=who", f"table:{tmp_path}/there/cases.csv", f"table:{tmp_path}/here/renamed.csv", fewer)
    assert [record_reading(tmp_path, checkpoint, each) for each in (*sources, with_another_table)] == [1, 2, 3, 4, 5, 6]
    assert num_readings(tmp_path, table_source(tmp_path / "new" / "cases.csv", range(9, 12))) == 0, "no image in common"


def test_a_table_without_anything_to_train_on_has_a_test_split_all_the_same(tmp_path: Path, checkpoint: Path) -> None:
    file = tmp_path / "cases.csv"
    table_source(file, range(4))
    file.write_text("\n".join(line for line in file.read_text().splitlines() if ",train," not in line) + "\n")
    assert [record_reading(tmp_path, checkpoint, f"table:{file}") for _ in range(2)] == [1, 2]


def test_a_table_that_only_a_checkpoints_classes_make_readable_is_counted(tmp_path: Path, checkpoint: Path) -> None:
    """A note with a line break is no label of the checkpoint's; the table was measured, and then nothing was said or counted."""
    file = tmp_path / "cases.csv"
    table_source(file, range(4))
    first, *rows = file.read_text().splitlines()
    file.write_text("\n".join([f"{first},note", *(f'{row},"two\nlines"' for row in rows)]) + "\n")
    with pytest.raises(DataError, match="must stand on one line"):
        read(f"table:{file}")
    assert [record_reading(tmp_path, checkpoint, f"table:{file}") for _ in range(2)] == [1, 2]


def test_readings_that_cannot_be_read_are_said_and_data_that_are_elsewhere_are_counted_by_name(
    tmp_path: Path, checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = table_source(tmp_path / "data" / "cases.csv", range(4))
    record_reading(tmp_path, checkpoint, source)
    with (tmp_path / "test_readings.jsonl").open("a") as lines:
        lines.write('{"time": "", "checkpoint": "", "source": "derm7pt:/a"}\n{"time": "2026\n')
    assert record_reading(tmp_path, checkpoint, source) == 2
    assert "2 readings cannot be read and are not counted" in caplog.text
    shutil.move(tmp_path / "data", tmp_path / "moved")
    assert [num_readings(tmp_path, each) for each in (source, f"{source}#group=who", "table:/elsewhere.csv")] == [2, 2, 0]


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


def test_a_failure_on_a_full_disk_is_kept_once_there_is_room_and_ends_no_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the state that did not fit leaves less room than its failure takes."""
    full = [OSError(errno.ENOSPC, "No space left on device")] * 3
    pauses: list[float] = []

    def hardly(file: Path, data: bytes) -> None:
        if full:
            raise full.pop()
        write_file(file, data)

    monkeypatch.setattr(failure, "write_file", hardly)
    monkeypatch.setattr(disk_space, "time", SimpleNamespace(sleep=pauses.append))
    write_failure(tmp_path / "t0000", "StorageFull: no room", "trace")
    assert (failure_trace(tmp_path / "t0000"), len(pauses)) == ("trace", 3)
    full.append(OSError(errno.EACCES, "Permission denied"))
    with pytest.raises(OSError, match="Permission denied"):
        write_failure(tmp_path / "t0000", "StorageFull: no room", "trace")


@pytest.fixture
def state() -> SearchState:
    """Two trials that have validated, the second the better, one that failed and one that has only begun."""
    plan = plan_of()
    events = [
        *begun("t0", 1.0, x=0.5),
        *begun("t1", 1.0, shape="tilted", tilt=0.25),
        *begun("t2", 1.0),
        *begun("t3", 1.0),
        reported("t0", 2.0, epoch_of(1, 4.0, 4.0, True), epoch_of(2, 5.0, 4.5, False, seconds=3.0)),
        reported("t1", 3.0, epoch_of(1, 2.0, 2.0, True, gain=7.0)),
        event_of("finished", 4.0, trial="t0", reason="max_epochs"),
        event_of("failed", 5.0, trial="t2", reason="RuntimeError: it broke"),
    ]
    return state_after(plan, events)


def test_curves_have_a_row_for_each_epoch_and_no_column_for_what_is_inactive(state: SearchState) -> None:
    frame = curves_frame(state)
    assert frame["trial"].tolist() == ["t0", "t0", "t1"]
    assert frame["epoch"].tolist() == [1, 2, 1]
    assert frame["score"].tolist() == [4.0, 4.5, 2.0]
    assert frame["seconds"].tolist() == [2.0, 3.0, 2.0]
    assert frame["is_best"].tolist() == [True, False, True]
    assert frame["valid/height"].tolist() == [4.0, 5.0, 2.0]
    assert frame["valid/gain"].fillna(-1.0).tolist() == [-1.0, -1.0, 7.0]
    assert frame["config/tilt"].fillna(-1.0).tolist() == [-1.0, -1.0, 0.25]
    assert frame["config/x"].tolist() == [0.5, 0.5, config_of()["x"]]


def test_the_leaderboard_has_a_row_for_each_trial_best_first(state: SearchState) -> None:
    rows = trials_frame(state).set_index("trial")
    assert rows.index.tolist() == ["t1", "t0", "t2", "t3"]
    assert rows["state"].tolist() == ["running", "finished", "failed", "running"]
    assert rows.loc["t0", ["reason", "value", "score", "epoch", "epochs", "seconds"]].tolist() == ["max_epochs", 4, 4, 1, 2, 5]
    assert rows.loc["t2", "reason"] == "RuntimeError: it broke"
    assert rows["tilt"].fillna(-1.0).tolist() == [0.25, -1.0, -1.0, -1.0]
    assert rows.loc["t0", "x"] == 0.5


def test_written_curves_are_read_back_as_they_were(state: SearchState, tmp_path: Path) -> None:
    write_curves(state, tmp_path / "curves.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "curves.parquet"), curves_frame(state))
    assert [path.name for path in tmp_path.iterdir()] == ["curves.parquet"]


def test_a_search_without_an_epoch_leaves_no_curves(tmp_path: Path) -> None:
    write_curves(state_after(plan_of(), begun("t0", 1.0)), tmp_path / "curves.parquet")
    assert list(tmp_path.iterdir()) == []


def test_written_curves_have_no_column_for_the_row_numbers(state: SearchState, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    write_curves(state, tmp_path / "curves.parquet")
    schema = pq.read_schema(tmp_path / "curves.parquet")
    assert schema.names == curves_frame(state).columns.tolist()
    assert schema.pandas_metadata["index_columns"] == []
