"""A confirmation over folds says, before it begins, which folds are uneven, and refuses more than the data can be split into."""

from pathlib import Path

import numpy as np
import pytest
from bowl_events import begun, epoch_of, event_of, lines_of, plan_of, reported
from PIL import Image

from search.execution.replanning import prepare_confirmation
from search.records.folder import SearchFolder
from trainables.errors import DataError


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A search of two trials, `done`, on seven patients, of whom one has all melanomas."""
    folder = tmp_path / "a table"
    folder.mkdir()
    generator = np.random.default_rng(0)
    lines = ["image,split,diagnosis,who"]
    for index in range(16):
        Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{index}.png")
        split, label = "train" if index < 12 else "valid", "melanoma" if index < 4 else "nevus"
        lines.append(f"{index}.png,{split},{label},p{0 if index < 4 else index // 2}")
    (folder / "cases.csv").write_text("\n".join(lines) + "\n")
    events = [event_of("search_started", 0.0)]
    for number in range(2):
        name = f"t{number}"
        events += [*begun(name, 1.0), reported(name, 2.0, epoch_of(1, 4.0, 4.0 + number, True))]
        events += [event_of("finished", 3.0, trial=name, reason="max_epochs")]
    search = SearchFolder(tmp_path / "runs", "done")
    plan = plan_of(
        name="done",
        source=f"table:{folder / 'cases.csv'}#group=who",
        notes=("said before",),
        search_notes=("k is searched up to 6",),
    )
    search.create(plan).release()
    search.ledger_file.write_text(lines_of(events))
    return tmp_path / "runs"


def test_uneven_folds_are_said_before_the_confirmation_begins(storage: Path) -> None:
    plan = prepare_confirmation(storage, "done", 2, 2, 2)
    assert plan.source_of(2) == f"{plan.source}#fold=2/2"
    said, *notes = plan.notes
    assert said == "said before"
    assert len([line for line in notes if "is uneven, since groups stay together" in line]) == 2
    assert len([line for line in notes if "class melanoma is in validation (4 cases) but not in training" in line]) == 1
    assert all(line.startswith(("fold 1 of 2", "fold 2 of 2")) for line in notes)
    assert prepare_confirmation(storage, "done", 2, 2, 1).notes == ("said before",), "the data's own split was told by the search"


def test_more_folds_than_can_be_parted_are_refused_before_anything_runs(storage: Path) -> None:
    with pytest.raises(DataError, match=r"^--folds must be 7 or less, the groups that can be parted; got 8$"):
        prepare_confirmation(storage, "done", 2, 2, 8)


def test_of_fewer_trials_than_five_all_are_confirmed_unless_told_otherwise(storage: Path) -> None:
    confirmation = prepare_confirmation(storage, "done", None, 2, 1).confirmation
    assert confirmation is not None
    assert [candidate.trial for candidate in confirmation.candidates] == ["t0", "t1"]
